"""Several answers to one question become one: the majority decides (self-consistency, arXiv 2203.11171).

A vote is for an answer, not for a text: "5.0" and "5" are one, and "0.5" and "1/2" are. Texts without a
readable answer do not vote. The gold answer takes no part, not even by the form that it has. Of answers with
equally many votes the one whose texts are more probable together wins, where all of their probabilities were
measured; else the one that came first. The catch: the share of votes is a confidence only after its
calibration was looked at, and a vote costs the tokens of all its texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from understudy import answers
from understudy.errors import DataError
from understudy.types import AnswerForm, Prediction, Question


@dataclass(frozen=True, slots=True)
class Party:
    """An answer and who gave it."""

    answer: str
    voters: tuple[Prediction, ...]
    """In the order in which they came."""

    @property
    def logprob(self) -> float | None:
        """Sum over everything that its voters wrote; None if some of it was not measured."""
        parts = [part.logprob for voter in self.voters for part in voter.written]
        return None if None in parts else sum(part for part in parts if part is not None)


def vote(question: Question, predictions: Sequence[Prediction], form: AnswerForm) -> Prediction:
    """The majority's first prediction, with what all of them wrote before it and its share of the votes.

    So its text is the winner's, its tokens are those of all, and it counts as truncated if any of them is.
    The share is that of all predictions, also of those that nobody can read. Without a readable answer the
    first prediction stands, with a share of 0. Raises DataError on no
    prediction or one of another question.
    """
    if not predictions or {prediction.question_id for prediction in predictions} != {question.id}:
        raise DataError(f"a vote on question {question.id} needs predictions, and of that question alone")
    winner = _winner(parties(question, predictions, form))
    chosen = winner.voters[0] if winner else predictions[0]
    share = len(winner.voters) / len(predictions) if winner else 0.0
    others = list(predictions)
    others.remove(chosen)
    rest = (part for other in others for part in other.written)
    return replace(chosen, written=(*rest, *chosen.written), share=share)


def parties(question: Question, predictions: Sequence[Prediction], form: AnswerForm) -> tuple[Party, ...]:
    """Every answer that was given, in the order in which it first was."""
    found: list[Party] = []
    for prediction in predictions:
        cut_off = prediction.written[-1].finish_reason == "length"
        answer = answers.read(prediction.text, form, question.choices, cut_off=cut_off).answer
        if answer is None:
            continue
        for place, party in enumerate(found):
            if _same(answer, party.answer, question, form):
                found[place] = replace(party, voters=(*party.voters, prediction))
                break
        else:
            found.append(Party(answer, (prediction,)))
    return tuple(found)


def _winner(found: Sequence[Party]) -> Party | None:
    """The largest party; of several the most probable, or the first where that is not known of each."""
    most = max((len(party.voters) for party in found), default=0)
    first = [party for party in found if len(party.voters) == most]
    measured = [(party.logprob, -place) for place, party in enumerate(first)]
    if not first or any(logprob is None for logprob, _ in measured):
        return first[0] if first else None
    best = max((logprob, place) for logprob, place in measured if logprob is not None)
    return first[-best[1]]


def _same(one: str, other: str, question: Question, form: AnswerForm) -> bool:
    """Whether the judge takes each for the other: rounding, which works one way alone, makes no match."""
    return one == other or (_meets(one, other, question, form) and _meets(other, one, question, form))


def _meets(output: str, gold: str, question: Question, form: AnswerForm) -> bool:
    if answers.canonical(gold, form, question.choices) is None:
        return False
    said = answers.write(output, form)
    return answers.judge(said, gold, form, question.choices).name == "correct"
