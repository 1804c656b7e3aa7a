"""Takes a model's thinking out of its answer, where a server did not: by the marks that models write.

Read are <think> and its relatives, several of them and in any order (DeepSeek-R1, Qwen, Magistral), and
OpenAI's Harmony channels (`<|channel|>analysis<|message|>...`), also with their marks stripped. The catch: a
mark may be missing at either end. Templates often write the first one themselves, and an answer that was cut
off while thinking has no last one.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(
    r"<(/?)(?:think|thinking|thought|reasoning)>|\[(/?)THINK\]|<\|(?:begin|(end))_of_thought\|>"
)
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(?P<name>\w+)[^<]*<\|message\|>(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_STRIPPED = re.compile(r"analysis(?P<thought>.*?)assistantfinal(?P<text>.*)", re.DOTALL)
_FINAL = "final"


def apart(content: str) -> tuple[str, str]:
    """(reasoning, answer) of what a model wrote; without marks everything is the answer."""
    if "<" in content or "[" in content:
        if "<|channel|>" in content:
            return _channels(content)
        return _blocks(content)
    stripped = _STRIPPED.fullmatch(content)
    if stripped:
        return stripped["thought"].strip(), stripped["text"].strip()
    return "", content


def _channels(content: str) -> tuple[str, str]:
    found = [(match["name"], match["text"].strip()) for match in _CHANNEL.finditer(content)]
    if not found:
        return "", content
    thoughts = [text for name, text in found if name != _FINAL]
    return "\n\n".join(thoughts), "\n\n".join(text for name, text in found if name == _FINAL)


def _blocks(content: str) -> tuple[str, str]:
    marks = list(_BLOCK.finditer(content))
    closing = [any(mark.groups()) for mark in marks]
    if not marks or (not any(closing) and content[: marks[0].start()].strip()):
        return "", content  # no mark, or one that a plain answer only mentions
    thoughts: list[str] = []
    said: list[str] = []
    inside, start = closing[0], 0
    for mark, closes in zip(marks, closing, strict=True):
        (thoughts if inside else said).append(content[start : mark.start()])
        inside, start = not closes, mark.end()
    (thoughts if inside else said).append(content[start:])
    thought = "\n\n".join(part.strip() for part in thoughts if part.strip())
    # Only what a block left behind is trimmed: the end of an answer stays as it was written.
    return thought, "".join(said).lstrip()
