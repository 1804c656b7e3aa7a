"""The keys of `curate` in a recipe: which rationales are kept."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from understudy.roles import Spec


class CurateSpec(Spec):
    """Which rationales are kept."""

    right_answer: bool = True
    """Drop a rationale whose answer is not the gold answer. Off, it keeps the answer that its teacher
    gave; one without any readable answer is dropped all the same, for there is nothing to train towards."""
    complete: bool = True
    """Drop a completion that was cut off by its length limit."""
    distinct: bool = True
    """Drop a rationale that repeats another of the same question word for word."""
    loops: bool = True
    """Drop a rationale that says one thing over and over at its end."""
    trusted_gold: bool = False
    """Drop all rationales of a question whose samples agree, by a majority of three or more, on an answer
    that is not the gold answer."""
    min_words: int | None = Field(None, ge=1)
    max_words: int | None = Field(None, ge=1)
    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    """Drop a rationale that is surely written in another language than this one ("en")."""
    right_steps: bool = False
    """Drop a rationale that holds an equation which does not hold."""
    unhinted: bool = False
    """Drop a rationale that speaks of an answer which was given, or states its answer before it reasons."""
    t5_writable: bool = False
    """Drop a rationale with a character that T5's vocabulary lacks."""
    near_duplicates: float | None = Field(None, gt=0, le=1)
    """Drop a rationale that shares this much of its runs of three words with a kept one of its question."""
    per_question: int | None = Field(None, gt=0)
    """Keep at most this many rationales of one question."""
    pick: Literal["first", "diverse"] = "first"
    """Which of them: the first sampled ones, or the first and then those least like what is kept."""

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.min_words and self.max_words and self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is more than max_words {self.max_words}")
        return self
