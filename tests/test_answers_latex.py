"""Formulas: which are equal, and that no text is evaluated, stalls the judge, or needs the main thread."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_data import shared_data
from understudy import answers
from understudy.answers import _equal, _latex

EQUAL = [
    (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{\pi}{2}", r"\pi/2"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    (r"(x+1)^2", r"x^2+2x+1"),
    (r"5n+10", r"5(n+2)"),
    (r"\frac{3}{x}+\frac{1}{2x}", r"\frac{7}{2x}"),
    (r"3+4i", r"4i+3"),
    (r"\left(3, \frac{\pi}{2}\right)", r"(3,\pi/2)"),
    (r"\{1,2,3\}", r"\{3,2,1\}"),
    (r"1, -2", r"-2, 1"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}"),
    (r"(-\infty,-2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,-2)"),
    (r"[0,1)", r"\left[0,\frac{2}{2}\right)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&\sqrt{16}\end{pmatrix}"),
    (r"y=2x+3", r"2x-y+3=0"),
    (r"x \ge 3", r"3 \le x"),
    (r"-3<x<5", r"5>x>-3"),
    (r"x=\sqrt{2}", r"\sqrt{2}"),
    (r"\log_2 8", r"3"),
    (r"2^{10}", r"1024"),
    (r"3\sqrt{13}", r"3\sqrt{13} \text{ cm}"),
    (r"2√3", r"2 \sqrt 3"),
    (r"12_5", r"12_5"),
]
DIFFERENT = [
    (r"2\sqrt{3}", r"3\sqrt{2}"),
    (r"x+1", r"y+1"),
    (r"(1,2)", r"(2,1)"),
    (r"[0,1)", r"(0,1)"),
    (r"(1,2)", r"\{1,2\}"),
    (r"y=2x+3", r"y=2x+4"),
    (r"x<3", r"x>3"),
    (r"x<3", r"-x<-3"),
    (r"10^{20}+1", r"10^{20}"),
    (r"\sqrt{2}", r"1.5"),
    (r"12_5", r"12"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_formulas(one: str, other: str) -> None:
    for output, gold in ((one, other), (other, one)):
        assert answers.judge(f"Thus $\\boxed{{{output}}}$.", gold, "number").name == "correct"
        assert answers.judge(answers.write(output, "number"), gold, "number").name == "correct"


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_formulas(one: str, other: str) -> None:
    for output, gold in ((one, other), (other, one)):
        assert answers.judge(f"Thus $\\boxed{{{output}}}$.", gold, "number").name != "correct"


def test_a_rounded_gold_is_met_by_a_formula_as_by_a_fraction() -> None:
    assert answers.judge(r"\boxed{2\sqrt{3}}", "3.46", "number").name == "correct"
    assert answers.judge(r"\boxed{2\sqrt{3}}", "3.47", "number").name == "wrong"
    assert answers.judge(r"\boxed{2\sqrt{3}}", "3.5", "number").name == "wrong"


HOSTILE = [
    "__import__('os').system('touch /tmp/judged')", "eval('1+1')", "x.__class__", "().__class__.__bases__",
    "lambda: 0", "open('/etc/passwd')", "9^{9^{9^9}}", "10^{99999999}", "((9^{99})^{99})^{99}", "99999!",
    "(99!)!", r"\binom{99999999}{4999999}", r"\binom{x}{99999}", "2^{9!}", "2^{99\\cdot 99\\cdot 99}",
    "(" * 100 + "x" + ")" * 100, "{" * 50 + "2" + "}" * 50, "+".join(["x^{50}"] * 60), r"\frac{1}{0}",
    r"\sqrt{" * 30 + "2" + "}" * 30, "x" * 290, "|" * 60, "<".join("abcdefgh"), r"\int_0^{99} x", "\x00x^2",
    r"\lim_{x \to 0} x", r"0^{-1}", r"\infty-\infty", r"\infty^{\infty}", "^^^", "x^", r"\frac", "(,)", "[)",
    "x==x", r"\left(", r"\begin{pmatrix}", r"\input{/etc/passwd}", "\ud800x^2", "1" * 299, "1," * 140, "=",
    "(999!)^{99}", r"\binom{999}{500}^{999}",
    "(" + "\\cdot ".join(["9" * 30] * 8) + ")^{999}", r"\sqrt{2}E999999999",
    r"2E999999999+\sqrt{2}", "2e999999999x", r"\sum_{i}^{9} i", r"\frac{x}{0}",
]  # fmt: skip


class Evaluated(BaseException):
    """No handler of the code under test may swallow it."""


NUMERAL = re.compile(r"[\d.]+|(?:Integer|Float) \('?[\d.]+'? \)")
"""All that reaches an evaluator: the numerals that the LaTeX grammar has found."""


@pytest.fixture
def no_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    from latex2sympy2_extended import latex2sympy2
    from math_verify import parser
    from sympy.parsing import sympy_parser

    def guarded(evaluate: Callable[..., Any]) -> Callable[..., Any]:
        def guard(text: Any, *arguments: Any, **options: Any) -> Any:
            if not NUMERAL.fullmatch(text):
                raise Evaluated(text)
            return evaluate(text, *arguments, **options)

        return guard

    for cached in (_latex.parsed, _equal.same_formula, parser.parse_latex_cached, parser.parse_expr_cached):
        cached.cache_clear()
    assert answers.judge(r"\boxed{\frac{\sqrt{5}}{2.5}}", r"\sqrt{0.8}", "number").name == "correct"  # warm
    for module in (parser, latex2sympy2, sympy_parser):
        monkeypatch.setattr(module, "parse_expr", guarded(module.parse_expr))
        monkeypatch.setattr(module, "eval", guarded(eval), raising=False)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30].encode("ascii", "replace").decode())
@pytest.mark.usefixtures("no_evaluator")
def test_no_text_is_evaluated_or_takes_long(text: str) -> None:
    began = time.process_time()
    for gold in ("77", "77.25", r"\sqrt{77}"):
        for written in (f"The answer is ${text}$.", f"\\boxed{{{text}}}", text):
            verdict = answers.judge(written, gold, "number")
            assert verdict.name != "correct"
            assert verdict.reason
    answers.canonical(text, "number")
    assert time.process_time() - began < 3


TOKENS = re.findall(
    r"\S+",
    r"x y f( g(2, i e ( ) [ ] { } , + - * / ^ _ = < > | ! 2 3 10 1.5 \sin \log \frac \sqrt \cdot \pi \infty"
    r" \binom \begin{pmatrix} \end{pmatrix} & \cup \in \{ \} : ; ' . \le pow( len( id( abs( \emptyset",
)


@given(st.lists(st.sampled_from(TOKENS), min_size=2, max_size=12).map("".join))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("no_evaluator")
def test_no_formula_is_evaluated_or_raises(text: str) -> None:
    for output, gold in ((text, "x+1"), ("x+1", text)):
        if answers.canonical(gold, "number") is not None:
            assert answers.judge(f"\\boxed{{{output}}}", gold, "number").reason


@pytest.mark.usefixtures("no_evaluator")
def test_an_evaluator_would_have_been_noticed() -> None:
    """The guard stands where math-verify's other path does evaluate text."""
    from math_verify import ExprExtractionConfig
    from math_verify.parser import extract_target_from_pred, get_extraction_regexes

    with pytest.raises(Evaluated):
        extract_target_from_pred("1+2*3", get_extraction_regexes([ExprExtractionConfig()]))


def test_it_works_in_any_thread() -> None:
    """Without signals, and with a grammar whose tables are shared."""

    def judged(number: int) -> str:
        return answers.judge(f"\\boxed{{{number}\\sqrt{{3}}}}", f"\\sqrt{{{3 * number**2}}}", "number").name

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(judged, range(101, 125))) == {"correct"}


def test_sympy_is_imported_only_for_a_formula() -> None:
    code = """
import sys
from understudy import answers
assert answers.judge("The answer is $18.", "18", "number").name == "correct"
assert answers.judge("\\\\boxed{\\\\frac{1}{2}}", "0.5", "number").name == "correct"
assert "sympy" not in sys.modules and "math_verify" not in sys.modules
assert answers.judge("\\\\boxed{\\\\sqrt{4}}", "2", "number").name == "correct"
assert "sympy" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_real_golds_of_math_are_read_and_right_by_themselves() -> None:
    """Golds of 1297 MATH problems as their collection holds them: it lost the last brace of some, so a
    "\\frac{1}" can be mended by nobody, and words and letters are no numbers."""
    path = shared_data("eit_cot_distill") / "math_human.json.gz"
    counts: Counter[str] = Counter()
    for row in json.loads(gzip.decompress(path.read_bytes())):
        gold = row["output"]
        canonical = answers.canonical(gold, "number")
        if canonical is None:
            counts["unreadable"] += 1
            assert "frac" in gold or "text" in gold or "{," in gold or gold.isalpha() or "string" in gold, (
                gold
            )
            continue
        counts["readable"] += 1
        for written in (
            answers.write(gold, "number"),
            f"\\boxed{{{gold}}}",
            answers.write(canonical, "number"),
        ):
            assert answers.judge(written, gold, "number").name == "correct", written
        assert answers.judge(answers.write(canonical, "number"), gold, "number").strict == "correct"
    assert counts == {"readable": 1254, "unreadable": 43}
