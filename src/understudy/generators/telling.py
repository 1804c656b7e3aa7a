"""What a report says about who wrote the students' answers: a sentence for each engine and format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from understudy.generators.contract import EXACT, REFERENCE


def sentences(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """From the results of `predict` steps."""
    told = [one for result in results for one in result.get("engines", {}).values()]
    plain = [f"{one['engine']} {one['version']}: {one['why']}" for one in told if "parity" not in one]
    for text in dict.fromkeys(plain):
        yield f"Students answered through {text}."
    groups: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for one in told:
        for record in (one[name] for name in ("parity", "begun") if name in one):
            group = groups.setdefault((one["engine"], one["version"], one["compute_type"]), {})
            group[record["record"]] = record
    for (engine, version, compute_type), records in groups.items():
        yield _measured(f"{engine} {version} in {compute_type}", compute_type, list(records.values()))


def _measured(who: str, compute_type: str, records: list[Mapping[str, Any]]) -> str:
    prompts = sum(record["prompts"] for record in records)
    ties = sum(len(record["ties"]) for record in records)
    same = prompts - ties - sum(record["different"] for record in records)
    splits = " and ".join(sorted({record["split"] for record in records}))
    text = f"Students answered through {who}; beside {REFERENCE} in {EXACT} it wrote the same tokens for "
    text += f"{same:,} of {prompts:,} prompts of {splits}"
    if ties:
        text += f", and {ties:,} more part ways where two tokens are equally likely"
    judged = [record for record in records if "correct" in record]
    if compute_type != EXACT and judged:
        mine, theirs = (sum(one["correct"][name] for one in judged) for name in ("engine", "reference"))
        read = sum(one["prompts"] for one in judged)
        text += f"; {mine:,} of {read:,} answers were right, and {theirs:,} of the reference's"
    return f"{text}."
