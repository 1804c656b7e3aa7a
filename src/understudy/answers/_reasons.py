"""Rules and outcomes in plain words: what a verdict's `reason` says.

A rule is the statement that was read, the way its answer was found in it, or both: "cue", "last_number",
"cue_option_text".
"""

from __future__ import annotations

from functools import cache

_STATED = {
    "cue": "stated as 'The answer is' or in like words",
    "hash": "stated after '####'",
    "boxed": "stated in a box",
    "tag": "stated between <answer> tags",
    "arrow": "stated after '-->'",
    "reply": "stated in a last line 'A:'",
    "heading": "stated under the heading 'Answer'",
}
_UNSTATED = {
    "last_number": "the last number of the text, for no statement was found",
    "last_result": "what stands after the last equals sign or colon, for no statement was found",
    "whole_text": "the whole text, for no statement was found",
    "last_line": "the last line, for no statement was found",
    "first_word": "the word that opens the text, for no statement was found",
    "last_sentence": "what the last sentence says, for no statement was found",
    "bare_label": "the text is nothing but a label",
    "option_text": "the text of an option",
    "first_label": "the label that opens the text, for no statement was found",
    "called_right": "the option that is called right, for no statement was found",
    "only_marked_label": "the only label that is marked, for no statement was found",
    "last_marked_label": "the label that is marked in the last sentence, for no statement was found",
    "only_option_mentioned": "the only option that is mentioned, for no statement was found",
}
DENIED = "an answer is only denied"
EMPTY = "the text is empty"
NOTHING = "no answer is stated"
LOOPS = "nothing is stated, and the text ends in a loop"
CUT_OFF = "nothing is stated, and the text was cut off"
UNFINISHED = "the text was cut off within its answer"
WRITTEN = "the sentence that was asked for"
NOT_WRITTEN = "there is no sentence 'The answer is' in the form that was asked for"


@cache
def in_words(rule: str) -> str:
    """How an answer was read, from its rule."""
    stated, _, way = rule.partition("_")
    if rule in _UNSTATED:
        return _UNSTATED[rule]
    return _STATED[stated] + (", as the text of an option" if way else "")
