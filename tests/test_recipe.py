"""Recipes: what is accepted, what is refused and with which words, and that nothing is lost on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import RecipeError
from understudy.recipe import Recipe, builtin, load_recipe, parse_recipe
from understudy.recipe.text import read, write
from understudy.roles import Apprenticeship, Completer, Identity, Teacher
from understudy.types import Sampling

REPOSITORY = Path(__file__).parent.parent


class Apprentice(Teacher):
    """A teacher that has to be trained first, in the layout that such teachers share."""

    name: str
    split: str = "teacher"
    student: dict[str, object] = {"name": "causal", "config": "tiny"}  # noqa: RUF012
    method: dict[str, object] = {"name": "single_stage"}  # noqa: RUF012
    train: dict[str, object] = {}  # noqa: RUF012

    def apprenticeship(self) -> Apprenticeship:
        return Apprenticeship(self.split, self.student, self.method, self.train)

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        return Identity("toy", "apprentice")

    def build(self, model: Path | None) -> Completer:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def outside_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`toys.apprentice`: a teacher from outside the project, reached by its dotted name."""
    module = ModuleType("toys.apprentice")
    vars(module).update(__all__=["Apprentice"], Apprentice=Apprentice)
    monkeypatch.setitem(sys.modules, "toys", ModuleType("toys"))
    monkeypatch.setitem(sys.modules, "toys.apprentice", module)


SMALL = """\
name: small
task: arithmetic
teacher: template
students:
  - {name: causal, config: tiny}
methods:
  - answer_only
  - single_stage
"""


def parse(text: str = SMALL, *overrides: str, environment: Mapping[str, str] | None = None) -> Recipe:
    return parse_recipe(text, "small.yaml", overrides, environment or {})


def refusal(text: str, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "small.yaml", overrides, environment or {})
    return str(caught.value)


# ---------------------------------------------------------------- what is accepted


def test_a_name_alone_is_enough_and_defaults_fill_the_rest() -> None:
    recipe = parse()
    assert recipe.seeds == (0,)
    assert recipe.task.name == "arithmetic"
    assert recipe.teacher
    assert recipe.teacher.name == "template"
    assert [entry.label for entry in recipe.students] == ["causal"]
    assert [(entry.label, entry.budget) for entry in recipe.methods] == [
        ("answer_only", 1.0),
        ("single_stage", 1.0),
    ]
    assert recipe.workers == "auto"
    assert recipe.notes == ()


def test_sampling_is_handed_on_without_the_count() -> None:
    recipe = parse(SMALL, "sampling={n: 3, temperature: 0.5, stop: [END], seed: 7}")
    assert recipe.sampling.n == 3
    assert recipe.sampling.sampling() == Sampling(temperature=0.5, stop=("END",), seed=7)


def test_the_source_of_a_task() -> None:
    recipe = parse(SMALL.replace("task: arithmetic", "task: {name: gsm8k, path: {train: a, test: b}}"))
    assert recipe.task.source().path == {"train": "a", "test": "b"}


def test_entries_of_one_method_stand_apart_by_label() -> None:
    recipe = parse(
        SMALL + "  - {name: answer_only, label: answer_only_2x, budget: 2, learning_rate: [1e-3, 2e-3]}\n"
    )
    twice = recipe.methods[-1]
    assert (twice.label, twice.budget, twice.learning_rate) == ("answer_only_2x", 2.0, (0.001, 0.002))
    assert twice.method.name == "answer_only"


def test_the_control_is_added_in_front_and_said() -> None:
    recipe = parse(SMALL.replace("  - answer_only\n", ""))
    assert [entry.label for entry in recipe.methods] == ["answer_only", "single_stage"]
    assert len(recipe.notes) == 1
    assert "answer_only" in recipe.notes[0]


def test_a_control_under_another_label_is_a_control() -> None:
    recipe = parse(SMALL, "methods.0.label=plain")
    assert [entry.label for entry in recipe.methods] == ["plain", "single_stage"]
    assert recipe.notes == ()


OWN_FILE = SMALL.replace("task: arithmetic", "task: {name: jsonl, path: train.jsonl}")


def test_a_task_without_exemplars_is_asked_zero_shot_and_said() -> None:
    recipe = parse(OWN_FILE, "prompt.exemplars=2")
    assert recipe.prompt.style == "zero_shot"
    assert recipe.prompt.exemplars == 2, "what the recipe says beside the style stays"
    assert recipe.notes == ("The task jsonl has no exemplars, so its prompt is zero-shot.",)
    assert parse().prompt.style == "few_shot", "a task with exemplars shows them"


@pytest.mark.parametrize("style", ["zero_shot", "bare"])
def test_a_style_that_needs_no_exemplars_stays_and_needs_no_note(style: str) -> None:
    recipe = parse(OWN_FILE, f"prompt.style={style}")
    assert (recipe.prompt.style, recipe.notes) == (style, ())


@pytest.mark.parametrize("written", ["in the file", "as an override"])
def test_examples_that_a_task_does_not_have_are_refused(written: str) -> None:
    text, overrides = OWN_FILE, ["prompt.style=few_shot"]
    if written == "in the file":
        text, overrides = OWN_FILE + "prompt: {style: few_shot}\n", []
    message = refusal(text, overrides)
    assert "the task 'jsonl' has no exemplars to show: write 'prompt: {style: zero_shot}'" in message
    assert "\n" not in message


def test_a_thing_from_outside_is_reached_by_its_dotted_name() -> None:
    recipe = parse(SMALL, "teacher={name: toys.apprentice}", "prompt.style=bare")
    assert isinstance(recipe.teacher, Apprentice)


YAML_VALUES = [
    ("no", "no"),  # YAML 1.1 reads it as false
    ("'007'", "007"),
    ("2024-01-31", "2024-01-31"),  # YAML 1.1 makes it a date
]


@pytest.mark.parametrize(("written", "title"), YAML_VALUES)
def test_words_stay_words(written: str, title: str) -> None:
    assert parse(SMALL, f"title={written}").title == title


def test_an_exponent_without_a_point_is_a_number() -> None:
    assert parse(SMALL, "train.learning_rate=2e-3").train.learning_rate == 0.002
    assert "should be text" in refusal(SMALL, ["title=2e-3"])


OVERRIDES = [
    ("methods.1.label=mine", lambda r: r.methods[1].label, "mine"),
    ("methods.1.budget=2", lambda r: r.methods[1].budget, 2.0),
    (
        "train.budget={unit: steps, amount: 7}",
        lambda r: (r.train.budget.unit, r.train.budget.amount),
        ("steps", 7.0),
    ),
    ("train.budget.amount=5", lambda r: r.train.budget.amount, 5.0),
    ("seeds=[3, 4]", lambda r: r.seeds, (3, 4)),
    ("title=a=b", lambda r: r.title, "a=b"),
    ("workers=2", lambda r: r.workers, 2),
    ("methods=[answer_only]", lambda r: len(r.methods), 1),
]


@pytest.mark.parametrize(("override", "look", "value"), OVERRIDES, ids=[row[0] for row in OVERRIDES])
def test_overrides(override: str, look: object, value: object) -> None:
    assert callable(look)
    assert look(parse(SMALL, override)) == value


def test_the_last_override_wins() -> None:
    assert parse(SMALL, "title=a", "title=b").title == "b"


INTERPOLATIONS = [
    ("${PLACE}", {"PLACE": "here"}, "here"),
    ("at ${PLACE}/${NAME:-x}", {"PLACE": "here"}, "at here/x"),
    ("${PLACE:-there}", {}, "there"),
    ("${PLACE:-there}", {"PLACE": ""}, "there"),
    ("${PLACE:-}", {}, ""),
    ("${PLACE}", {"PLACE": "${OTHER}"}, "${OTHER}"),  # what a variable holds is not read again
    ("$${PLACE}", {}, "${PLACE}"),
    ("$5 and $PLACE", {"PLACE": "here"}, "$5 and $PLACE"),
]


@pytest.mark.parametrize(("written", "environment", "title"), INTERPOLATIONS)
def test_interpolation(written: str, environment: dict[str, str], title: str) -> None:
    assert parse(SMALL + f'title: "{written}"\n', environment=environment).title == title


# ---------------------------------------------------------------- what is refused


REFUSALS = [
    # (what stands at the end of the recipe, the line it is reported at, words of the sentence)
    ("sedes: [1]\n", 9, ["unknown key 'sedes'", "did you mean 'seeds'"]),
    ("xyzzy: 1\n", 9, ["unknown key 'xyzzy'", "name", "evaluate"]),
    ("train:\n  budget:\n    amonut: 3\n", 11, ["'train.budget.amonut'", "'train.budget.amount'"]),
    ("train:\n  warmup: 3\n", 10, ["'train.warmup' should be less than 1, but is 3"]),
    (
        "train: {learning_rate: [1e-3, fast]}\n",
        9,
        ["'train.learning_rate.1' should be a number, but is 'fast'"],
    ),
    ("train: {budget: {unit: stps}}\n", 9, ["'train.budget.unit'", "did you mean 'steps'"]),
    ("train:\n", 9, ["'train' should be a mapping of keys, but is empty"]),
    ("seeds: 3\n", 9, ["'seeds' should be a list, but is 3"]),
    ("seeds: []\n", 9, ["'seeds' should have at least 1 item, but is an empty list"]),
    ("seeds: [true]\n", 9, ["'seeds.0' should be a number, but is true"]),
    ("data: {train: true}\n", 9, ["'data.train' should be a number, but is true"]),
    ("  - {name: two_stage, budget: true}\n", 9, ["'methods.2.budget' should be a number, but is true"]),
    ("seeds: [1, 1]\n", 9, ["'seeds' names one seed twice"]),
    ("workers: many\n", 9, ["'workers' should be a whole number or 'auto', but is 'many'"]),
    (
        "  - {name: two_stage, labl: x}\n",
        9,
        ["unknown key 'methods.2.labl'", "did you mean 'methods.2.label'"],
    ),
    ("  - {name: two_stag}\n", 9, ["no method is called 'two_stag'", "did you mean 'two_stage'"]),
    ("  - {label: x}\n", 9, ["'methods.2.name' should name one of the methods", "two_stage"]),
    ("  - 3\n", 9, ["'methods.2' should be a name or a mapping of keys, but is 3"]),
    ("  - {name: two_stage, label: a/b}\n", 9, ["'methods.2.label'", "folder"]),
    ("  - {name: two_stage, budget: -1}\n", 9, ["'methods.2.budget' should be greater than 0, but is -1"]),
    ("  - {name: two_stage, learning_rate: []}\n", 9, ["'methods.2.learning_rate'"]),
    ("  - single_stage\n", 9, ["two methods are labelled 'single_stage'", "label: single_stage_3"]),
    ("evaluate: {splits: [train]}\n", 9, ["'train'", "trained on"]),
    ("evaluate: {splits: [test, dev]}\n", 9, ["'dev'", "learning rates"]),
    ("evaluate: {splits: [tset]}\n", 9, ["the task 'arithmetic' has no split 'tset'", "test, ood"]),
    ("evaluate: {splits: []}\n", 9, ["at least one split"]),
    ("sampling: {n: 2, temperature: 0}\n", 9, ["'sampling.n'", "2 of 2 samples", "temperature 0"]),
    ("prompt: {style: bare, show_answer: true}\n", 9, ["'prompt'", "show the answer"]),
    ("name: again\n", 9, ["the key 'name' is written twice", "line 1"]),
    ("title: ${NOPE}\n", 9, ["the environment variable NOPE is not set"]),
    ('title: "${NO PE}"\n', 9, ["'${NO PE}' is not a reference"]),
    ("title: !!python/name:os.system x\n", 9, ["the YAML tag"]),
    ("title: [\n", 10, ["not YAML"]),
    ("\ttitle: x\n", 9, ["not YAML"]),
    ("? [a]\n: 1\n", 1, ["the key on line 9 should be a plain word"]),
]


@pytest.mark.parametrize(("end", "line", "words"), REFUSALS, ids=[row[0].strip() for row in REFUSALS])
def test_refusals_name_the_line_and_the_key(end: str, line: int, words: list[str]) -> None:
    message = refusal(SMALL + end)
    assert message.startswith(f"small.yaml, line {line}: "), message
    assert all(word in message for word in words), message
    assert "\n" not in message


REPLACED = [
    ("task: arithmetic", "task: arithmetik", "no task is called 'arithmetik'; did you mean 'arithmetic'"),
    ("task: arithmetic", "task: {name: arithmetic, path: x}", "makes its questions; remove 'task.path'"),
    ("task: arithmetic", "task: jsonl", "reads your own file; give 'task.path'"),
    ("task: arithmetic", "task: {name: gsm8k, path: x, revision: y}", "'task.revision' is for the Hub"),
    ("task: arithmetic", "task: 3", "'task' should be a mapping of keys, but is 3"),
    ("name: small", "name: ../small", "'name': it names a folder"),
    ("name: small", "title: small", "the key 'name' is missing"),
    (
        "teacher: template",
        "teacher: [template]",
        "'teacher' should be a name or a mapping of keys, but is a list",
    ),
    ("teacher: template", "teacher: gone.away", "needs the module 'gone', which is not installed"),
    ("teacher: template", "teacher: understudy.methods.two_stage", "is not one of the teachers"),
    ("  - answer_only\n  - single_stage\n", "  {}\n", "'methods' should be a list, but is a mapping of keys"),
    ("  - answer_only\n  - single_stage\n", "  []\n", "'methods' should have at least 1 item"),
    (
        "  - answer_only",
        "  - {name: two_stage, label: answer_only}",
        "the label 'answer_only' is the control's",
    ),
    ("config: tiny", "config: tinny", "tinny"),
    ("config: tiny", "confg: tiny", "unknown key 'students.0.confg'; did you mean 'students.0.config'"),
]


@pytest.mark.parametrize(("old", "new", "words"), REPLACED, ids=[row[1].strip() for row in REPLACED])
def test_refusals_of_a_changed_recipe(old: str, new: str, words: str) -> None:
    assert old in SMALL
    assert words in refusal(SMALL.replace(old, new))


APPRENTICES = [
    ({"student": "{name: causal, confg: tiny}"}, "unknown key 'teacher.student.confg'"),
    ({"method": "{name: single_stag}"}, "did you mean 'single_stage'"),
    ({"train": "{warmpu: 0.1}"}, "did you mean 'teacher.train.warmup'"),
    ({"split": "teachers"}, "has no split 'teachers'"),
    ({"split": "test"}, "taught the teacher"),
]


@pytest.mark.parametrize(("change", "words"), APPRENTICES)
def test_an_apprenticeship_is_checked_to_its_last_key(change: dict[str, str], words: str) -> None:
    overrides = ["teacher=toys.apprentice", "prompt.style=bare"]
    parse(SMALL, *overrides)
    message = refusal(SMALL, [*overrides, *(f"teacher.{key}={value}" for key, value in change.items())])
    assert words in message


def test_an_apprentice_is_asked_as_it_was_taught() -> None:
    message = refusal(SMALL, ["teacher=toys.apprentice"])
    assert "write 'prompt: {style: bare}'" in message


def test_every_problem_is_told_at_once_in_one_line_each() -> None:
    message = refusal(SMALL + "sedes: [1]\ntrain: {warmup: 3}\n", ["teacher=recorder", "methods.0.labl=x"])
    first, *rest = message.splitlines()
    assert first == "4 problems in small.yaml:"
    assert len(rest) == 4
    assert "line 9: unknown key 'sedes'" in message
    assert "line 10: 'train.warmup'" in message
    assert (
        "in the override teacher=recorder: no teacher is called 'recorder'; did you mean 'recorded'"
        in message
    )
    assert "in the override methods.0.labl=x: unknown key" in message


BAD_OVERRIDES = [
    ("titel=x", "in the override titel=x: unknown key 'titel'; did you mean 'title'"),
    ("train.warmup=3", "in the override train.warmup=3: 'train.warmup' should be less than 1"),
    ("train.warmpu=0.1", "in the override train.warmpu=0.1: unknown key"),
    ("methods.7=x", "'methods' is a list of 2, counted from 0"),
    ("methods.last=x", "'methods' is a list of 2"),
    ("seeds=[1", "in the override seeds=[1: this is not YAML"),
    ("title", "the override 'title' is not of the form key=value"),
    ("=x", "is not of the form key=value"),
    ("train..warmup=1", "is not of the form key=value"),
    ("title=${NOPE}", "in the override title=${NOPE}: the environment variable NOPE is not set"),
]


@pytest.mark.parametrize(("override", "words"), BAD_OVERRIDES)
def test_bad_overrides_are_named(override: str, words: str) -> None:
    assert words in refusal(SMALL, [override])


def test_an_override_cannot_go_below_a_number() -> None:
    assert "'data.train' is 3, which has no keys" in refusal(SMALL + "data: {train: 3}\n", ["data.train.x=1"])


SECRET = "sk-" + "proj4abcdefghijk"  # assembled, so that no scanner takes it for a real one
SECRETS = [
    (f"title: {SECRET}\n", [], {}),
    ("title: ${SOME_KEY}\n", [], {"SOME_KEY": SECRET}),
    (f"teacher: {{name: openai, model: m, api_key: {SECRET}}}\n", [], {}),
    ("teacher: {name: openai, model: m, Api-Key: hunter2}\n", [], {}),
    ("", [f"title={SECRET}"], {}),
    ("", [f"teacher={{name: openai, password: {SECRET}}}"], {}),
    ("", ["teacher.token=hunter2"], {}),
]


@pytest.mark.parametrize(("end", "overrides", "environment"), SECRETS)
def test_secrets_are_refused_and_not_repeated(
    end: str, overrides: list[str], environment: dict[str, str]
) -> None:
    text = SMALL.replace("teacher: template\n", "") if "teacher" in end else SMALL
    message = refusal(text + end, overrides, environment)
    assert "secret" in message
    assert "environment" in message
    assert SECRET not in message
    assert "hunter2" not in message


def test_the_name_of_a_key_is_no_secret() -> None:
    recipe = parse(SMALL, "teacher={name: openai, model: m, api_key_env: MY_KEY}", "sampling.max_tokens=9")
    assert "MY_KEY" in recipe.dump()


WHOLE_FILES = [
    ("", "is missing"),
    ("- a\n- b\n", "a recipe is a mapping of keys"),
    ("just words", "a recipe is a mapping of keys"),
    ("a: 1\n---\nb: 2\n", "not YAML"),
    ("a: \x00\n", "not YAML"),
    ("[" * 3000, "nested too deeply"),
    ("a: &x [*x]\n", "unknown key 'a'"),
]


@pytest.mark.parametrize(("text", "words"), WHOLE_FILES, ids=range(len(WHOLE_FILES)))
def test_files_that_are_no_recipes(text: str, words: str) -> None:
    assert words in refusal(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone\.yaml cannot be read: No such file"):
        load_recipe(tmp_path / "gone.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("title: Grüße".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


# ---------------------------------------------------------------- back to text


def test_a_dump_reads_back_as_the_same_recipe() -> None:
    recipe = parse(
        SMALL.replace("  - answer_only\n", "") + "title: 'no: ${x} \"é\"'\n".replace("${", "$${"),
        "methods.0.learning_rate=[1e-3, 1e-5]",
        "teacher={name: openai, model: m, extra: {top_k: 3, note: 'yes', when: 2024-01-31}}",
    )
    text = recipe.dump()
    assert parse_recipe(text, "dump.yaml", (), {}) == recipe
    assert "learning_rate: [0.001, 1.0e-05]" in text


def test_a_loaded_file_equals_its_text(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert load_recipe(path, ["seeds=[5]"], {}) == parse(SMALL, "seeds=[5]")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_any_plain_value_survives_writing_and_reading(value: object) -> None:
    assert read(write({"value": value}), "x.yaml", (), {}).values == {"value": value}


# ---------------------------------------------------------------- recipes that are shipped


DEMOS = ["demo_arithmetic", "demo_coin_flip", "demo_last_letters"]


@pytest.mark.parametrize("name", DEMOS)
def test_built_in_recipes_are_valid_and_fair(name: str) -> None:
    recipe = parse_recipe(builtin(name), name, (), {})
    labels = [entry.label for entry in recipe.methods]
    assert labels[:2] == ["answer_only", "answer_only_2x"]
    assert recipe.methods[1].budget == 2
    assert recipe.notes == ()
    assert parse_recipe(recipe.dump(), name, (), {}) == recipe


def test_a_wrong_built_in_name_says_what_there_is() -> None:
    with pytest.raises(RecipeError, match="demo_arithmetic, demo_coin_flip, demo_last_letters"):
        builtin("demo_arithmetik")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_for_users_are_valid(path: Path) -> None:
    recipe = load_recipe(path, (), {})
    assert recipe.notes == ()
    assert parse_recipe(recipe.dump(), path.name, (), {}) == recipe


def test_a_section_that_only_an_override_brings_in_is_placed_in_the_override() -> None:
    with pytest.raises(RecipeError, match=r"in the override trian\.budget=3: unknown key 'trian'"):
        parse_recipe(builtin("demo_arithmetic"), "r.yaml", ("trian.budget=3",), {})
