"""The documentation says what is: its recipes validate, its code runs, its tables match the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import understudy
from test_house import FLOORS
from test_report import COMPARISON_KEYS, GOLDEN_KEYS, ROW_KEYS
from understudy import answers, errors, shelves
from understudy.cli import INTERRUPTED, main
from understudy.curate import CurateSpec
from understudy.data import DataSpec
from understudy.engines.ray import RaySpec
from understudy.errors import DataError
from understudy.evaluate import EvaluateSpec
from understudy.metering import BudgetSpec
from understudy.method_table import rewritten
from understudy.prices import PriceSpec
from understudy.prompts import PromptSpec
from understudy.recipe import (
    AnnotationSampling,
    MethodEntry,
    Recipe,
    StudentEntry,
    TaskEntry,
    parse_recipe,
)
from understudy.recipe.spec import AuditSpec
from understudy.recipe.text import read
from understudy.roles import Budget, ClusterSpec, Lora, StoppingSpec, TrainSpec
from understudy.types import AnswerForm

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def page(name: str) -> str:
    return (PROJECT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    return [found["text"] for found in BLOCK.finditer(text) if found["kind"].strip() == kind]


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def all_blocks(kind: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{path.name}-{number}")
        for path in PAGES
        for number, block in enumerate(blocks(path.read_text(encoding="utf-8"), kind))
    ]


def sections(text: str) -> Mapping[str, str]:
    """Heading -> what stands under it, up to the next heading of any depth."""
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str) -> list[list[str]]:
    """The cells of every body row of the tables in `text`."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    heads = {i - 1 for i, line in enumerate(rows) if re.fullmatch(r"[|: -]+", line)}
    body = [line for i, line in enumerate(rows) if i not in heads and i - 1 not in heads]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body]


def code_words(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


# ---------------------------------------------------------------- what is fenced


@pytest.mark.parametrize("block", all_blocks("yaml"))
def test_a_recipe_in_the_docs_is_a_valid_recipe(block: str) -> None:
    parse_recipe(block, "a recipe in the docs", (), {})


@pytest.mark.parametrize("block", all_blocks("python"))
def test_python_in_the_docs_compiles(block: str) -> None:
    compile(block, "docs", "exec")


def runnable() -> list[Any]:
    """Python blocks that a text block follows: what they print."""
    pattern = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(code, printed, id=f"{path.name}-{number}")
        for path in PAGES
        for number, (code, printed) in enumerate(pattern.findall(path.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize(("code", "printed"), runnable())
def test_python_in_the_docs_prints_what_the_docs_say(code: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", printed)


@pytest.mark.parametrize("block", all_blocks("json"))
def test_json_in_the_docs_is_json(block: str) -> None:
    for line in block.splitlines():
        json.loads(line)


# ---------------------------------------------------------------- commands and links


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_in_the_docs_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`understudy ([a-z][\w-]*)", text)
    for kind in ("sh", "bash", "console", ""):
        for block in blocks(text, kind):
            named += re.findall(r"^(?:\$ )?understudy ([a-z][\w-]*)", block, re.MULTILINE)
    assert set(named) <= main.commands.keys()


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_relative_link_resolves(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, part = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        if part:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert part in {anchor(heading.replace("`", "")) for heading in headings}, target


def test_no_page_names_a_path_of_one_machine() -> None:
    for path in PAGES:
        assert not re.search(r"(?<![\w.])/(?:home|work|tmp|root|Users)/", path.read_text(encoding="utf-8")), (
            path
        )


# ---------------------------------------------------------------- the recipe's keys

KEYS: Mapping[str, type[BaseModel]] = {
    "The recipe": Recipe,
    "task": TaskEntry,
    "data": DataSpec,
    "prompt": PromptSpec,
    "sampling": AnnotationSampling,
    "budget": BudgetSpec,
    "price": PriceSpec,
    "ray": RaySpec,
    "curate": CurateSpec,
    "audit": AuditSpec,
    "train": TrainSpec,
    "train.stopping": StoppingSpec,
    "train.ray": ClusterSpec,
    "train.budget": Budget,
    "train.lora": Lora,
    "evaluate": EvaluateSpec,
    **{name: shelves.load("teachers", name) for name in shelves.names("teachers")},
}
NESTED = {"data", "prompt", "sampling", "curate", "audit", "train", "evaluate", "budget"}
"""Keys whose default is a section of its own."""


@cache
def reference() -> Mapping[str, str]:
    """Every section that lists keys. The teachers of providers.md have theirs there."""
    recipes, providers = sections(page("recipes.md")), sections(page("providers.md"))
    assert recipes.keys() & providers.keys() == set(), "one place for each"
    return {**recipes, **providers}


def default(model: type[BaseModel], name: str) -> Any:
    field = model.model_fields[name]
    value = field.get_default(call_default_factory=True, validated_data={})
    return list(value) if isinstance(value, tuple) else value


def said(cell: str) -> Any:
    """The default that a cell states, read as a recipe would read it."""
    return read(f"value: {cell.strip('`')}", "docs", (), {}).values["value"]


@pytest.mark.parametrize("heading", KEYS)
def test_the_reference_names_every_key_with_its_default(heading: str) -> None:
    model = KEYS[heading]
    rows = {row[0].strip("`"): row for row in table(reference()[heading])}
    assert list(rows) == list(model.model_fields)
    for name, (_, _, cell, *_) in rows.items():
        value = default(model, name)
        if value is PydanticUndefined:
            assert cell == "required", name
        elif name in NESTED and isinstance(value, BaseModel):
            assert cell == "see below", name
        else:
            assert said(cell) == value, name


def test_the_reference_names_every_key_of_students_and_methods() -> None:
    parts = sections(page("recipes.md"))
    students = {row[0].strip("`") for row in table(parts["students"] + parts["causal and seq2seq"])}
    for name in shelves.names("students"):
        model = shelves.load("students", name)
        extra = {row[0].strip("`") for row in table(parts.get(name, ""))}
        assert students | extra == {*StudentEntry.model_fields, *model.model_fields} - {"student"}
        assert all(said(row[2]) == default(model, row[0].strip("`")) for row in table(parts.get(name, "")))
    origin = {row[0].strip("`"): row[2] for row in table(parts["causal and seq2seq"])}
    for key, cell in origin.items():
        assert key == "name" or said(cell) == default(model, key), key
    shared = {row[0].strip("`") for row in table(parts["methods"])}
    assert shared == set(MethodEntry.model_fields) - {"method"}
    for name in shelves.names("methods"):
        own = [key for key in shelves.load("methods", name).model_fields if key != "name"]
        rows = table(parts.get(name, ""))
        assert [row[0].strip("`") for row in rows] == own
        assert all(said(row[2]) == default(shelves.load("methods", name), row[0].strip("`")) for row in rows)


def test_the_reference_names_every_shape_of_a_student() -> None:
    row = next(row for row in table(page("recipes.md")) if row[0] == "`config`")
    for name in shelves.names("students"):
        assert set(shelves.load("students", name).shapes()) <= code_words(row[3])


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.UnderstudyError)
    }
    rows = table(sections(page("recipes.md"))["Exit codes"])
    assert [int(row[0]) for row in rows] == sorted({0, INTERRUPTED, *codes})


def test_our_environment_variables_are_documented() -> None:
    package = Path(understudy.__file__).parent
    files = [*package.rglob("*.py"), *package.rglob("*.yaml"), *(PROJECT / "recipes").glob("*.yaml")]
    used = {name for path in files for name in re.findall(r"UNDERSTUDY_[A-Z_]+", path.read_text("utf-8"))}
    assert used
    for name in shelves.names("teachers"):
        key = shelves.load("teachers", name).model_fields.get("api_key_env")
        used |= {key.default} if key and key.default else set()
    assert used <= code_words(sections(page("recipes.md"))["Environment variables"])


# ---------------------------------------------------------------- judge, methods, report, floors

OPTIONS = ("ice", "sand", "salt")


def judged_examples() -> list[Any]:
    forms: tuple[AnswerForm, ...] = ("number", "choice", "boolean", "text")
    return [
        pytest.param(form, *(cell.strip("`") for cell in row[:4]), id=f"{form}: {row[0]}")
        for form in forms
        for row in table(sections(page("judge.md"))[form])
    ]


@pytest.mark.parametrize(("form", "output", "gold", "reading", "verdict"), judged_examples())
def test_the_judge_reads_the_examples_as_its_page_says(
    form: AnswerForm, output: str, gold: str, reading: str, verdict: str
) -> None:
    choices = OPTIONS if form == "choice" else ()
    found = answers.judge(output.replace("⏎", "\n"), gold, form, choices)
    assert (found.name.replace("_", " "), found.extracted or "–") == (verdict, reading)


def test_every_method_has_its_section() -> None:
    assert set(shelves.names("methods")) <= sections(page("methods.md")).keys()


def test_every_key_of_the_report_is_explained() -> None:
    missing = (GOLDEN_KEYS | ROW_KEYS | COMPARISON_KEYS) - code_words(page("report.md"))
    assert missing == set()


def test_the_floors_are_those_that_the_house_holds() -> None:
    drawing = next(block for block in blocks(page("architecture.md"), "text") if block.startswith("5  "))
    floor, drawn = 0, {number: set[str]() for number in FLOORS}
    for line in drawing.splitlines():
        floor = int(line[0]) if line[0].isdigit() else floor
        names = re.split(r"   +", line[3:].strip())[0]
        drawn[floor] |= {name.strip().rstrip("/") for name in names.split(",")}
    assert drawn == {number: set(names) for number, names in FLOORS.items()}


# ---------------------------------------------------------------- adding a thing


@cache
def new_things() -> dict[str, str]:
    """Path under src -> text, of every file in adding.md."""
    files = {}
    for block in blocks(page("adding.md"), "python"):
        head, _, text = block.partition("\n")
        files[head.removeprefix("# src/")] = text
    return files


def test_there_is_an_example_for_every_shelf() -> None:
    assert sorted(path.split("/")[1] for path in new_things()) == sorted(shelves.SHELVES)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the new files and no other edit."""
    folder = tmp_path_factory.mktemp("scratch")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(understudy.__file__).parent, folder / "understudy", ignore=ignored)
    for path, text in new_things().items():
        (folder / path).write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(blocks(page("adding.md"), "yaml new-things")[0], encoding="utf-8")
    return folder


def run_in(folder: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_new_things_are_listed(scratch: Path) -> None:
    listed = run_in(scratch, "from understudy.cli import main; main(['list'])")
    for path in new_things():
        assert f"\n  {Path(path).stem} " in listed


def test_the_new_things_run_from_recipe_to_report(scratch: Path) -> None:
    code = """
from pathlib import Path
import torch
from understudy import distill, events, recipe
torch.set_num_threads(1)
distill.run(recipe.load_recipe(Path("recipe.yaml")), Path("out"), events.ignore, in_process=True)
"""
    run_in(scratch, code)
    report = json.loads((scratch / "out" / "report.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in report["rows"]] == ["answer_only", "answer_first"]
    assert report["task"] == "clock"
    assert report["teacher"]["model"] == "echo"
    assert report["students"]["gpt2"].startswith("gpt2: trained from scratch")
    assert report["curation"]["annotated"] == report["curation"]["kept"] == 24
    assert {row["metrics"]["false_sums"]["n"] for row in report["rows"]} == {24}


def test_the_table_of_methods_is_made_from_the_code() -> None:
    text = page("methods.md")
    assert rewritten(text) == text, "run: python -m understudy.method_table docs/methods.md"
    assert all(f"| [`{name}`](#{name}) |" in text for name in shelves.names("methods"))


def test_a_page_without_marks_is_not_written_over() -> None:
    with pytest.raises(DataError, match="add both"):
        rewritten("# Methods\n")
