"""What curation knows of each completion before it asks what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from understudy import answers
from understudy.checks.hints import answer_first, betrays
from understudy.errors import DataError
from understudy.policies import is_hinted
from understudy.types import AnswerForm, Completion, Question, Rationale, RationaleKind, Verdict

FEWEST_SAMPLES = 3
"""Readable samples of a question from which their majority is worth more than a doubtful gold answer."""


@dataclass(frozen=True, slots=True)
class Text:
    """One completion that holds text, beside all that is known of it."""

    question: Question
    completion: Completion
    form: AnswerForm
    verdict: Verdict
    text: str
    """The reasoning, without the final statement of its answer."""
    gold_doubted: bool = False

    @property
    def answer(self) -> str:
        return self.question.answer if self.verdict.name == "correct" else self.verdict.extracted or ""

    @property
    def hinted(self) -> bool:
        """Whether it betrays, anywhere in the completion, that its answer was shown."""
        whole, choices = self.completion.text, self.question.choices
        return betrays(whole) is not None or (
            bool(self.answer) and answer_first(whole, self.answer, self.form, choices)
        )

    @property
    def kind(self) -> RationaleKind:
        if self.verdict.name == "wrong":
            return "wrong"
        return "hinted" if is_hinted(self.completion.sample) else "right"

    def rationale(self, teacher: str) -> Rationale:
        return Rationale(self.question.id, self.completion.sample, self.text, self.answer, teacher, self.kind)


def failed(completion: Completion) -> bool:
    """Whether it holds no text at all."""
    return completion.finish_reason in ("error", "content_filter")


def failure(completion: Completion) -> str:
    """The kind of failure, without its detail: a reason must be one that several completions share."""
    if completion.finish_reason == "content_filter":
        return "content filter"
    return completion.error.partition(":")[0].strip() or "not answered"


def groups(
    questions: Sequence[Question], completions: Sequence[Completion], form: AnswerForm
) -> Iterator[list[Text]]:
    """What was said to each question, in the order of samples; failed completions left out."""
    said_to: dict[str, list[Completion]] = {question.id: [] for question in questions}
    for completion in completions:
        if completion.question_id not in said_to:
            raise DataError(f"a completion answers question {completion.question_id}, which was not asked")
        if not failed(completion):
            said_to[completion.question_id].append(completion)
    for question in {question.id: question for question in questions}.values():
        said = sorted(said_to[question.id], key=lambda completion: completion.sample)
        texts = [_judged(question, completion, form) for completion in said]
        yield [replace(text, gold_doubted=True) for text in texts] if _doubted(texts) else texts


def _judged(question: Question, completion: Completion, form: AnswerForm) -> Text:
    cut_off = completion.finish_reason == "length"
    verdict = answers.judge(completion.text, question.answer, form, question.choices, cut_off=cut_off)
    text = answers.reasoning(completion.text, form, question.choices)
    return Text(question, completion, form, verdict, text)


def _doubted(texts: Sequence[Text]) -> bool:
    """Whether a majority of the readable samples agree on an answer that is not the gold answer."""
    read = [text.verdict.extracted for text in texts if text.verdict.name != "no_answer"]
    if len(read) < FEWEST_SAMPLES:
        return False
    answer, votes = Counter(read).most_common(1)[0]
    wrong_ones = {text.verdict.extracted for text in texts if text.verdict.name == "wrong"}
    return 2 * votes > len(read) and answer in wrong_ones
