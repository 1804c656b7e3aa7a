"""CommonsenseQA v1.11, random split: everyday questions with five options. By tau-nlp, MIT.

    {"answerKey": "A", "question": {"stem": "..", "choices": [{"label": "A", "text": "ignore"}, ..]}, ..}

The catch: the official test has no public answers, so "test" here is the official dev split (1,221), as in
most papers; a dev split is cut from the end of train.
"""

from __future__ import annotations

from understudy.roles import Hub, Task
from understudy.tasks._original import Original, multiple_choice
from understudy.types import Exemplar

__all__ = ["commonsenseqa"]

_EXEMPLARS = (
    Exemplar(
        "Where would you keep milk so that it stays fresh?",
        "Milk spoils when it is warm. Of these places only a refrigerator is kept cold.",
        "D",
        ("cupboard", "table", "garden", "refrigerator", "car"),
    ),
    Exemplar(
        "What do people usually do when they are very tired at night?",
        "Being tired means that the body needs rest. People rest at night by going to bed and sleeping.",
        "A",
        ("sleep", "run", "cook", "shout", "study"),
    ),
    Exemplar(
        "Where is a passenger likely to wait for a train?",
        "Trains stop at stations, and passengers stand beside the track on the platform.",
        "C",
        ("runway", "harbor", "platform", "garage", "kitchen"),
    ),
    Exemplar(
        "What is the purpose of wearing an umbrella hat in bad weather?",
        "Bad weather often means rain. An umbrella keeps rain off, so such a hat is worn to keep dry.",
        "B",
        ("get wet", "stay dry", "be cold", "grow taller", "feel hungry"),
    ),
    Exemplar(
        "If someone apologizes after an argument, what do they hope for?",
        "An apology says that one is sorry. People say so because they want to be forgiven.",
        "E",
        ("money", "revenge", "silence", "sleep", "forgiveness"),
    ),
    Exemplar(
        "What would a carpenter use to join two boards?",
        "Boards are joined by something that holds wood together. Nails are driven through both boards; the "
        "other things do not hold wood.",
        "B",
        ("water", "nails", "flour", "paper", "thread"),
    ),
)

_original = Original(
    name="commonsenseqa",
    files={
        "train": ("train.jsonl", "train_rand_split.jsonl"),
        "test": ("dev.jsonl", "dev_rand_split.jsonl"),
    },
    parse=multiple_choice,
    hub=Hub("tau/commonsense_qa", "94630fe30dad47192a8546eb75f094926d47e155"),
    hub_splits={"train": "train", "test": "validation"},
)

commonsenseqa = Task(
    name="commonsenseqa",
    title="CommonsenseQA",
    form="choice",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=_EXEMPLARS,
    licence="MIT",
    homepage="https://huggingface.co/datasets/tau/commonsense_qa",
    hub=_original.hub,
    counts={"train": 9741, "test": 1221},
    files=_original.paths,
)
