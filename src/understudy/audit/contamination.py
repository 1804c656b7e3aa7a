"""Which questions of one split stand in another, and which of them the kept rationales quote.

The catch: each level includes those before it, and the loose ones find a template's words in every question
that was made from it. What counts for a run is `data.overlap_by`; here stands what every level would find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from understudy.audit.material import Material
from understudy.audit.section import Section
from understudy.contamination import LEVELS, NEAR, RUN, Index, counts, text_overlaps
from understudy.types import Question


def contamination(material: Material, against: Mapping[str, Sequence[Question]] = {}) -> Section:
    """Every later split of the run in every earlier one, and the sets of `against` in the annotated one.

    The rationales are those that curation kept; a question is quoted when one of them repeats 13 of its words
    in a row, or all of its 8 to 12.
    """
    pairs = [(held, other) for other, held in combinations(material.splits, 2)]
    sets = {**material.splits, **against}
    pairs += [(held, material.split) for held in against]
    indices = {other: Index(material.splits[other], "near") for _, other in pairs}
    found = [_found(sets[held], indices[other], held, other) for held, other in pairs]
    quoted = [
        _quoted(sets[held], material, held) for held in sets if held != material.split and material.rationales
    ]
    return Section(
        name="contamination",
        title="Contamination",
        sentences=(_finding(found), *_rationales(quoted, material), _legend()),
        columns=("questions of", "in", "n", *LEVELS),
        rows=tuple(_row(entry) for entry in found),
        numbers={"overlaps": found, "quotes": quoted},
    )


def _found(held_out: Sequence[Question], index: Index, held: str, other: str) -> dict[str, Any]:
    questions = {question.id: question for question in held_out}
    matches = [match for question in questions.values() if (match := index.find(question)) is not None]
    return {"held_out": held, "in": other, "n": len(questions), "found": counts(matches)}


def _quoted(held_out: Sequence[Question], material: Material, held: str) -> dict[str, Any]:
    quotes = text_overlaps(held_out, [rationale.text for rationale in material.rationales])
    return {
        "held_out": held,
        "n": len({question.id for question in held_out}),
        "questions": len(quotes.questions),
        "rationales": len(quotes.texts),
    }


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    found = (f"{entry['found'][level]:,}" for level in LEVELS)
    return (entry["held_out"], entry["in"], f"{entry['n']:,}", *found)


def _finding(found: Sequence[Mapping[str, Any]]) -> str:
    """The pair with the most of its questions found by their normalised text: what decides by default."""
    if not found:
        return "There is one split only, so there is nothing to compare it with."
    worst = max(found, key=lambda entry: entry["found"]["normalised"] / max(entry["n"], 1))
    shared = worst["found"]["normalised"]
    if not shared:
        total = sum(entry["n"] for entry in found)
        return (
            f"No question stands in another split, but for case, punctuation and options "
            f"({len(found)} {'pair' if len(found) == 1 else 'pairs'} of splits, {total:,} look-ups)."
        )
    return (
        f"{shared:,} of the {worst['n']:,} questions of {worst['held_out']} "
        f"({100 * shared / worst['n']:.1f} %) {'stands' if shared == 1 else 'stand'} in {worst['in']}, "
        "but for case, punctuation and options."
    )


def _rationales(quoted: Sequence[Mapping[str, Any]], material: Material) -> tuple[str, ...]:
    if not quoted:
        return ()
    hits = [entry for entry in quoted if entry["questions"]]
    total = f"{len(material.rationales):,} kept rationales of {material.split}"
    if not hits:
        return (
            f"None of the {total} quotes a question of {', '.join(entry['held_out'] for entry in quoted)}.",
        )
    return tuple(
        f"{entry['rationales']:,} of the {total} quote {entry['questions']:,} of the {entry['n']:,} "
        f"questions of {entry['held_out']}."
        for entry in hits
    )


def _legend() -> str:
    return (
        "Each level includes those before it: exact is text, context and options; normalised leaves out "
        f"case, punctuation and options; {RUN}-gram is {RUN} words in a row; near is a Jaccard similarity of "
        f"{NEAR}."
    )
