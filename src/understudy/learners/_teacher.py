"""The teacher that gives logits: loaded beside the student, frozen, and checked to speak its vocabulary."""

from __future__ import annotations

from typing import Any

from understudy import shelves
from understudy.errors import TrainingError
from understudy.roles import Lesson, LiveStudent


def load(lesson: Lesson) -> LiveStudent:
    """The teacher as a live model in evaluation mode, without gradients. Raises TrainingError without one."""
    from transformers import AutoConfig

    from understudy.students._live import load_pretrained

    if lesson.teacher is None:
        raise TrainingError(
            "learning from logits needs a teacher that gives them: a `student` teacher, or a `transformers` "
            "one with a folder or hub id"
        )
    place = str(lesson.teacher)
    config = load_pretrained(AutoConfig, place, None)
    kind = "seq2seq" if config.is_encoder_decoder else "causal"
    teacher: LiveStudent = shelves.load("students", kind)(checkpoint=place).create((), lesson.seed)
    teacher.model.requires_grad_(False)
    teacher.model.eval()
    return teacher


def vocabulary(live: Any) -> dict[str, int]:
    tokens: dict[str, int] = live.tokenizer.get_vocab()
    return tokens


def comparable(student: Any, teacher: Any) -> bool:
    """Whether the two read and write the same tokens in the same way."""
    return student.kind == teacher.kind and vocabulary(student) == vocabulary(teacher)


def agree(student: Any, teacher: Any) -> None:
    """Make the teacher's logits those of the student's tokens.

    Checkpoints of one family share a tokenizer and pad their embeddings to different sizes; what a larger
    teacher has beyond the student's is cut off. Raises TrainingError where the two cannot be compared.
    """
    if student.kind != teacher.kind:
        raise TrainingError(
            f"a {student.kind} student cannot be compared token by token with a {teacher.kind} teacher: take "
            "a teacher of the student's architecture, or the method logit with cross_tokenizer true"
        )
    if vocabulary(student) != vocabulary(teacher):
        raise TrainingError(
            "the student's tokens are not the teacher's, so logits cannot be compared: give the student "
            "the teacher's folder as its tokenizer, or take the method logit with cross_tokenizer true"
        )
    own, others = student.model.config.vocab_size, teacher.model.config.vocab_size
    if others < own:
        raise TrainingError(
            f"the teacher gives {others} logits and the student {own}: take a teacher with as many"
        )
    if others > own:
        teacher.model.resize_token_embeddings(own)
