"""QASC: science questions that need two facts, with eight options. https://allenai.org/data/qasc, CC BY 4.0.

    {"question": {"stem": "What shape are sea squirts?", "choices": [..]}, "answerKey": "D", "fact1": ".."}

The catch: the official test has no public answers, so "test" here is the official dev split (926) and a dev
split is cut from the end of train. The file of 814 that some repositories call their in-house dev is part of
the official train; it is used as train where the official file of 8,134 is not beside it.
`Question.rationale` is the two facts and what they combine to.
"""

from __future__ import annotations

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._original import Original, multiple_choice, optional
from understudy.types import Exemplar, Question

__all__ = ["qasc"]


def _parse(row: Row) -> Question:
    facts = [optional(row, name).rstrip(". ") for name in ("fact1", "fact2", "combinedfact")]
    return multiple_choice(row, " ".join(f"{fact}." for fact in facts if fact))


_EXEMPLARS = (
    Exemplar(
        "What can be used to separate iron filings from sand?",
        "Magnets attract iron. Sand is not attracted by magnets, so a magnet pulls the filings out.",
        "C",
        ("heat", "water", "a magnet", "light", "a mirror", "wind", "a candle", "sound"),
    ),
    Exemplar(
        "What do bees help plants to do?",
        "Bees carry pollen from flower to flower. Plants that receive pollen make seeds and so reproduce.",
        "G",
        ("sleep", "freeze", "walk", "digest", "migrate", "rust", "reproduce", "melt"),
    ),
    Exemplar(
        "What does burning wood give off?",
        "Burning wood is combustion. Combustion turns stored chemical energy into heat and light.",
        "A",
        ("heat", "cold", "soil", "seeds", "ice", "magnetism", "salt", "metal"),
    ),
    Exemplar(
        "What can be cracked by freezing water?",
        "Water expands when it freezes. Water seeps into the gaps of rock, so when it freezes it pushes the "
        "rock apart.",
        "E",
        ("air", "clouds", "sunlight", "steam", "rocks", "oceans", "music", "gravity"),
    ),
    Exemplar(
        "What kind of animal is kept warm by blubber?",
        "Blubber is a layer of fat under the skin of sea mammals. Whales are sea mammals.",
        "B",
        ("ants", "whales", "snakes", "frogs", "spiders", "worms", "parrots", "lizards"),
    ),
    Exemplar(
        "What do plants need in order to make sugar?",
        "Plants make sugar by photosynthesis. Photosynthesis uses the energy of sunlight.",
        "H",
        ("darkness", "rust", "salt", "thunder", "sand", "plastic", "smoke", "sunlight"),
    ),
)

_original = Original(
    name="qasc",
    files={
        "train": ("train.jsonl", "in_house_dev_814_of_train.jsonl"),
        "test": ("dev.jsonl",),
    },
    parse=_parse,
    hub=Hub("allenai/qasc", "a34ba204eb9a33b919c10cc08f4f1c8dae5ec070"),
    hub_splits={"train": "train", "test": "validation"},
)

qasc = Task(
    name="qasc",
    title="QASC",
    form="choice",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=_EXEMPLARS,
    licence="CC BY 4.0",
    homepage="https://allenai.org/data/qasc",
    hub=_original.hub,
    counts={"train": 8134, "test": 926},
    files=_original.paths,
)
