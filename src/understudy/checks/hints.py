"""Does a rationale betray that its answer was shown to whoever wrote it?

Two signs: words that speak of an answer which was given ("the provided answer is True"), and the answer
stated before there is any reasoning. The catch is how much that is innocent sounds alike ("the given answer
choices", "the answer is not given"), and that teachers who saw nothing state the answer first as well. Every
pattern has bounded repeats, so the cost is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy import answers
from understudy.types import AnswerForm

_SAID = r"(?:given|provided|supplied|stated|indicated|specified|listed|marked)"
_ANSWER = r"(?:(?:correct|right|final|actual|true)[ ])?answer(?![ -]?(?:choice|option|key|s\b))"
_MISTAKE = r"(?:mistake|error)\b"
_BETRAYAL = re.compile(
    rf"""\b(?:
      (?<!each[ ])(?<!every[ ])(?<!any[ ])(?<!a[ ])(?:given|provided|supplied|expected|specified)[ ]{_ANSWER}
        (?![ ](?:the|that|options|to)\b)
    | {_ANSWER}[ ](?:is|was|has[ ]been)[ ](?:already[ ])?{_SAID}[ ](?:as|to[ ]be)\b
    | the[ ]{_ANSWER}[ ](?:that[ ](?:is|was)[ ])?(?:given|provided|supplied|specified)(?:[ ](?:is|was)\b|,[ ])
    | (?:is|was|been)[ ](?:given|stated|told|known)[ ]that[ ]the[ ]{_ANSWER}[ ](?:is|was|must|should)\b
    | (?:know|told|given)[ ](?:that[ ])?the[ ]{_ANSWER}[ ](?:is|to[ ]be)\b
        (?![ ](?:in|an?|not|less|more|between)\b)
    | (?:according[ ]to|in[ ]line[ ]with|consistent[ ]with|aligns?[ ]with)[ ]the[ ]{_ANSWER}[ ]{_SAID}\b
    | to[ ](?:arrive[ ]at|match)[ ]the[ ]{_ANSWER}[ ]of\b
    | (?:gold|ground[ -]truth|reference)[ ]answer\b | answer[ ]key\b
    # A sum that missed the answer: "the answer is 144, so there might be a mistake in the question"
    | answer[ ]is[ ][$(]?[\w.,%]{{1,12}}?\)?,[ ](?:but[ ]it[ ]seems[ ]|so[ ])?
        (?: there(?:'s|[ ]is|[ ](?:must|might|may)[ ]be)[ ](?:a|an|some)[ ](?:\w{{1,12}}[ ])?{_MISTAKE}
          | I[ ](?:must[ ]have[ ])?made[ ]an?[ ]{_MISTAKE} | we[ ]need[ ]to[ ](?:re-?\w|find|adjust) )
    )""",
    re.IGNORECASE | re.VERBOSE,
)

FIRST_SENTENCE = 600
"""Characters in which the first sentence ends, or is no sentence."""
LEAD = 8
"""Words that may stand before an answer that comes first: "The correct answer to this question is"."""
_ITEM = re.compile(r"[\s*#]{0,8}(?:step[ ])?\d{1,2}[.:)][ ]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|[.!?][\"'”’)\]*_]{0,3}(?=\s|$)(?!\s{1,3}[a-z])")
_REASON = re.compile(r"\b(?:because|since|as|for|so|therefore|thus|hence)\b", re.IGNORECASE)
# Rules of the judge by which a first sentence is nothing but an answer, beside its rules for statements.
_BARE = frozenset(("bare_label", "option_text", "called_right", "first_word"))
_LIST = re.compile(r"\b(?:each|every|all|following|consider|evaluat|analy[sz]|assess|review)", re.IGNORECASE)
_NEXT_OPTION = re.compile(r"(?:^|[\s*(])[B-Z][.:)]\s")
_STATED = ("cue", "hash", "heading", "tag", "arrow", "boxed")


def betrays(text: str) -> tuple[int, int] | None:
    """The characters [start, end) of the first words that speak of an answer which was given, if any."""
    found = _BETRAYAL.search(text)
    return found.span() if found else None


def answer_first(text: str, answer: str, form: AnswerForm, choices: Sequence[str] = ()) -> bool:
    """Whether `text` opens by stating `answer` and reasons only then: "The answer is (B), because ...".

    A number of the question that is repeated, or an answer that its own sentence leads to, does not count.
    """
    item = _ITEM.match(text)
    start = item.end() if item else len(text) - len(text.lstrip())
    end = _SENTENCE_END.search(text, start, start + FIRST_SENTENCE)
    if end is None or answers.canonical(answer, form, choices) is None:
        return False
    first = text[start : end.end()]
    verdict = answers.judge(first, answer, form, choices)
    if verdict.name != "correct" or verdict.span is None:
        return False
    if not verdict.rule.startswith(_STATED) and verdict.rule not in _BARE:
        return False
    lead, tail = first[: verdict.span[0]], first[verdict.span[1] :]
    if len(lead.split()) > LEAD or _REASON.search(lead) or _LIST.search(lead):
        return False
    if verdict.rule in _BARE and _NEXT_OPTION.search(text, end.end(), end.end() + FIRST_SENTENCE):
        return False  # a list that goes through all options
    rest = answers.reasoning(text[end.end() :], form, choices)
    return len(rest.split()) >= 3 or _REASON.search(tail) is not None
