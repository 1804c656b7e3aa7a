"""The house holds: arrows run down, nothing heavy is imported early, and nothing runs text as code."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import understudy
from understudy import shelves

ROOT = Path(understudy.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

# Module -> floor; a package stands for everything in it. A module may import from its own floor and from
# those below. A new module gets a line here, which is the moment to ask where it belongs.
FLOORS = {
    1: ("types", "errors", "events", "answers", "statistics", "batches", "streams"),
    2: (
        "roles",
        "prompts",
        "ledger",
        "store",
        "shelves",
        "rows",
        "records",
        "checks",
        "contamination",
        *("prices", "metering", "spool"),
    ),
    3: (
        *shelves.SHELVES,
        *("annotate", "curate", "data", "training", "evaluate", "judging", "steps"),
        *("report", "engines", "audit", "asking", "work", "estimate", "policies"),
        *("studying", "examining", "probing", "voting", "counterfactuals", "generators"),
        *("scoring", "scoring_steps"),
    ),
    4: (
        *("recipe", "graph", "reporting", "findings", "distill", "auditing", "preflight", "costing"),
        *("sizing", "sweep", "comparing", "exchange"),
    ),
    5: (
        *("cli", "exchange_commands", "ledger_commands", "console", "doctor", "catalogue", "method_table"),
        "__main__",
    ),
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}

HEAVY = {
    *("torch", "transformers", "datasets", "ray", "scipy", "accelerate", "tokenizers"),
    *("sympy", "math_verify", "datasketch", "py3langid", "litellm", "aiohttp", "trl", "ctranslate2"),
}
LONGEST = 350


def module_name(path: Path) -> str:
    """ "understudy.report.tables" for its file; a package is its __init__."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: str, node: ast.AST) -> Iterator[str]:
    """Our modules that one statement imports; `from package import submodule` is the submodule."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    if not isinstance(node, ast.ImportFrom):
        return
    base = node.module or ""
    if node.level:
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        if submodule in MODULES:
            yield submodule
        elif base in MODULES:
            yield base


def imports(module: str, *, typing_only: bool) -> set[str]:
    """What a module imports anywhere in its text, with or without what stands under TYPE_CHECKING."""
    skipped: set[int] = set()
    if not typing_only:
        for node in ast.walk(tree(MODULES[module])):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                skipped.update(id(inner) for part in node.body for inner in ast.walk(part))
    return {
        name
        for node in ast.walk(tree(MODULES[module]))
        if id(node) not in skipped
        for name in imported(module, node)
        if name != module
    }


def room(module: str) -> str:
    """The part of a module's name that stands in the table; nothing for the package itself."""
    return module.removeprefix("understudy").removeprefix(".").partition(".")[0]


# ---------------------------------------------------------------- floors


def test_every_module_stands_on_a_floor_and_every_line_of_the_table_is_used() -> None:
    rooms = {room(module) for module in MODULES} - {""}
    assert rooms - FLOOR.keys() == set(), "give the module a line in FLOORS"
    assert FLOOR.keys() - rooms == set(), "a line in FLOORS stands for nothing"


@pytest.mark.parametrize("module", [module for module in MODULES if room(module)])
def test_no_import_runs_up(module: str) -> None:
    up = {
        other
        for other in imports(module, typing_only=True)
        if room(other) and FLOOR[room(other)] > FLOOR[room(module)]
    }
    assert up == set(), f"{module} on floor {FLOOR[room(module)]} imports from above"


def test_the_ground_floor_imports_nothing_of_ours_but_the_stones() -> None:
    for module in MODULES:
        if FLOOR.get(room(module)) == 1:
            others = {room(other) for other in imports(module, typing_only=True)} - {room(module), ""}
            assert others <= {"types", "errors"}, module


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one again at the end; empty if there is no ring."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring: list[str] = error.args[1]
        return ring
    return []


def test_a_circle_is_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_imports_go_in_circles() -> None:
    """Runtime imports, deferred ones included: a circle that is broken by an import in a function is one."""
    assert circle({module: imports(module, typing_only=False) for module in MODULES}) == []


# ---------------------------------------------------------------- weight

LIGHT = {
    "import understudy": "import understudy",
    "--help": "from click.testing import CliRunner; from understudy.cli import main\n"
    "assert CliRunner().invoke(main, ['--help']).exit_code == 0",
    "built-in recipes": "from understudy.recipe import builtin, parse_recipe\n"
    "for name in ('demo_arithmetic', 'demo_coin_flip', 'demo_last_letters'):\n"
    "    parse_recipe(builtin(name), name)",
    "plan": "from click.testing import CliRunner; from understudy.cli import main\n"
    "from understudy.recipe import builtin; import pathlib\n"
    "pathlib.Path('demo.yaml').write_text(builtin('demo_arithmetic'))\n"
    "result = CliRunner().invoke(main, ['plan', 'demo.yaml'])\n"
    "assert result.exit_code == 0, result.output\n"
    "assert 'to do' in result.output",
    "list": "from click.testing import CliRunner; from understudy.cli import main\n"
    "assert CliRunner().invoke(main, ['list']).exit_code == 0",
    "every shelf": "from understudy import shelves\n"
    "for shelf in shelves.SHELVES:\n"
    "    for name in shelves.names(shelf):\n"
    "        shelves.load(shelf, name)",
}


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT.keys())
def test_nothing_heavy_is_imported_before_there_is_work(code: str, tmp_path: Path) -> None:
    report = "import json, sys; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) & HEAVY == set()


def test_every_built_in_recipe_is_weighed() -> None:
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert path.stem in LIGHT["built-in recipes"]


# ---------------------------------------------------------------- shelves

ON_SHELVES = [(shelf, name) for shelf in shelves.SHELVES for name in shelves.names(shelf)]


@pytest.mark.parametrize(("shelf", "name"), ON_SHELVES)
def test_a_shelf_module_exports_one_thing(shelf: str, name: str) -> None:
    path = MODULES[f"understudy.{shelf}.{name}"]
    exported = [
        ast.literal_eval(node.value)
        for node in tree(path).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(exported) == 1
    assert len(exported[0]) == 1


# ---------------------------------------------------------------- habits


def name_of(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def dangers(source: ast.Module) -> Iterator[str]:
    """Calls that run text or a stranger's code."""
    for node in ast.walk(source):
        if not isinstance(node, ast.Call):
            continue
        called = name_of(node.func)
        if called in (
            "eval",
            "exec",
            "yaml.load",
            "yaml.unsafe_load",
            "pickle.load",
            "pickle.loads",
            "os.system",
        ):
            yield called
        for keyword in node.keywords:
            value = getattr(keyword.value, "value", None)
            if (keyword.arg, value) in {
                ("trust_remote_code", True),
                ("weights_only", False),
                ("shell", True),
            }:
                yield f"{keyword.arg}={value}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("eval(text)", ["eval"]),
        ("yaml.load(text, Loader=yaml.Loader)", ["yaml.load"]),
        ("load(path, trust_remote_code=True)", ["trust_remote_code=True"]),
        ("torch.load(path, weights_only=False)", ["weights_only=False"]),
        ("model.eval()\nyaml.safe_load(text)\nload(path, trust_remote_code=False)", []),
    ],
)
def test_dangers_are_seen(text: str, found: list[str]) -> None:
    assert list(dangers(ast.parse(text))) == found


@pytest.mark.parametrize("path", SOURCES, ids=MODULES.keys())
def test_a_module_is_short_documented_and_runs_no_text(path: Path) -> None:
    assert list(dangers(tree(path))) == []
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST, (
        f"{path.name} has {len(lines)} lines: two files are waiting to be told apart"
    )
    if lines and path.name != "__init__.py":
        assert ast.get_docstring(tree(path))
