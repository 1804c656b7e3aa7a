"""Which part of a text is the model's own answer: after its hidden thoughts, before an end-of-text token or
the next turn of a chat, and before the text runs on into another question.

The catch is that a text may begin with the question, repeated, or with a chat's marks: what opens a text
ends nothing.
"""

from __future__ import annotations

import re

_THOUGHT_END = "</think>"
_END_OF_TEXT = re.compile(
    r"""<[|｜](?:endoftext|im_end|eot_id|end_of_text|end|return|endofsentence|end▁of▁sentence|user|User|human
      |system|im_start|start_header_id|begin_of_text|assistant|Assistant)[|｜]>
    | </s> | <(?:start|end)_of_turn> | \[/?INST\] | <</?SYS>>""",
    re.VERBOSE,
)
_OPENING_MARKS = re.compile(
    r"""(?:\s*(?:<[|｜](?:im_start|start_header_id|end_header_id|begin_of_text|assistant|Assistant)[|｜]>
    |<start_of_turn>|\[/INST\]|(?<=[>|])(?:assistant|model)\b)){1,6}""",
    re.VERBOSE,
)
_NEXT_QUESTION = re.compile(
    r"""\n[ \t]{0,4}(?:
      (?:\#{1,6}[ ]{0,2}|\*\*)?
      (?:(?:Q|Question|Problem|Human|User|Instruction|Exercise|Input)[ ]?[\#№]?\d{0,4}\*{0,2}[ ]?:
        |(?:Q|Question|Problem|Exercise)[ ]?[\#№]?\d{1,4}\*{0,2}[.)\n])
      | \#{1,6}[ ]{0,2}(?:(?:New|Next)[ ])?(?:Instruction|Question|Human|User|Input)[ ]?\d{0,4}\*{0,2}[ ]?\n
      | (?:user|human|assistant|system)[ ]?\n
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def own_part(text: str) -> tuple[int, int]:
    """[start, end) of the model's own words, without the space around them, unless nothing stands there."""
    start, end = 0, len(text)
    if "<" in text or "[" in text:
        start = text.rfind(_THOUGHT_END) + 1 and text.rfind(_THOUGHT_END) + len(_THOUGHT_END)
        opening = _OPENING_MARKS.match(text, start)
        start = opening.end() if opening else start
        found = _END_OF_TEXT.search(text, start)
        end = found.start() if found else end
        if not text[start:end].strip():
            start, end = 0, len(text)
    own = text[start:end]
    return start + len(own) - len(own.lstrip()), start + len(own.rstrip())


def next_question(text: str) -> int | None:
    """Where the text runs on into another question, if something stands before that."""
    if "\n" not in text:
        return None
    for found in _NEXT_QUESTION.finditer(text):
        if text[: found.start()].strip():
            return found.start()
    return None
