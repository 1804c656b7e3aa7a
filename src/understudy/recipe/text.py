"""YAML that remembers its lines: what a recipe says, and where it says it.

Reads text, `key=value` overrides and `${NAME}` references into plain values beside a map from each
key to its place, so that every later complaint can name a line. The catch: scalars follow YAML 1.2,
not PyYAML's 1.1, so that `no` is text, `2e-3` is a number and a date is not converted; tags and merge
keys are refused. Nothing that looks like a secret gets in, because the recipe is saved with the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from understudy.errors import RecipeError

Keys = tuple[str | int, ...]

SECRET_KEYS = frozenset(
    {
        "api_key",
        "apikey",
        "token",
        "access_token",
        "auth_token",
        "hf_token",
        "authorization",
        "password",
        "secret",
    }
)
_SECRET_VALUE = re.compile(r"(?<![\w/.-])(?:sk-(?=[\w-]*\d)[\w-]{6,}|hf_[A-Za-z0-9]{20,})")
_SECRET_WORD = re.compile(rf"\b(?:{'|'.join(sorted(SECRET_KEYS))})\b", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_]\w*)(?::-([^}]*))?\}|[^}]*\}?)")

_TAG = "tag:yaml.org,2002:"
_NUMBER = list("-+.0123456789")
_FLOAT = re.compile(r"[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$")


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalar types of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (declared so by PyYAML; filled just below)


_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"(?:[Tt]rue|TRUE|[Ff]alse|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"[-+]?(?:0|[1-9](?:_?\d){0,30})$"), _NUMBER)
_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, _NUMBER)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would read as something other than text."""


_Dumper.add_implicit_resolver(_TAG + "float", _FLOAT, _NUMBER)
_BREAKS = frozenset("\x85\u2028\u2029")
"""Line breaks to YAML 1.1, which would come back as spaces unless they are escaped."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if _BREAKS & set(value) else None
    return dumper.represent_scalar(_TAG + "str", value, style=style)


_Dumper.add_representer(str, _text)

_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": int,
    _TAG + "float": float,
    _TAG + "str": str,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a recipe, and the key it is wrong at."""

    keys: Keys
    sentence: str


@dataclass(slots=True)
class Document:
    """The values of a recipe file after overrides, and the place of each key."""

    file: str
    environment: Mapping[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Keys, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, keys: Keys) -> str:
        """Where `keys` is written, or the nearest thing around it that is."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return f"{self.file}, line 1"

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise RecipeError with every problem at its place; nothing happens when there is none."""
        sentences = list(dict.fromkeys(f"{self.place(p.keys)}: {p.sentence}" for p in problems))
        if len(sentences) == 1:
            raise RecipeError(sentences[0])
        if sentences:
            raise RecipeError(f"{len(sentences)} problems in {self.file}:\n  " + "\n  ".join(sentences))


def read(text: str, file: str, overrides: Sequence[str], environment: Mapping[str, str]) -> Document:
    """The document in `text`, changed by `overrides`. `file` is its name in messages."""
    document = Document(file, environment)
    root = _compose(text, document.file)
    if isinstance(root, yaml.MappingNode):
        document.values = _value(document, root, (), "")
    elif root is not None:
        raise RecipeError(f"{file}, line 1: a recipe is a mapping of keys, such as 'name: my-first-run'")
    for override in overrides:
        _override(document, override)
    document.refuse(document.problems)
    return document


def write(values: Mapping[str, Any]) -> str:
    """YAML that `read` turns back into `values`, whatever the environment."""
    return yaml.dump(
        _escaped(values),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=110,
    )


def dotted(keys: Keys) -> str:
    return ".".join(str(key) for key in keys)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner) for inner in value]
    return value


def _compose(text: str, file: str) -> yaml.Node | None:
    """The node tree of `text`; `file` is a file's name, or "in the override key=value"."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}, line {mark.line + 1}" if mark and not file.startswith("in the override ") else file
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise RecipeError(f"{where}: this is not YAML: {reason}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{file}: this is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise RecipeError(f"{file}: lists and mappings are nested too deeply") from error
    return node


def _value(document: Document, node: yaml.Node, keys: Keys, override: str) -> Any:
    """The plain value of `node`, its places noted; `override` is its place when it has no line."""
    if keys:
        document.places[keys] = override or f"{document.file}, line {node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        value = _SCALARS[node.tag](node.value)
        return _interpolated(document, value, keys) if isinstance(value, str) else value
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(document, node, keys, override)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        children = node.value
        node.value = []  # an alias to a list around itself then ends, as an empty list
        values = [_value(document, child, (*keys, i), override) for i, child in enumerate(children)]
        node.value = children
        return values
    document.problems.append(Problem(keys, f"the YAML tag '{node.tag}' has no place in a recipe"))
    return None


def _mapping(document: Document, node: yaml.MappingNode, keys: Keys, override: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    pairs = node.value
    node.value = []
    for key_node, value_node in pairs:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(keys, f"the key on line {line} should be a plain word"))
            continue
        key = key_node.value
        inner = (*keys, key)
        if key in values:
            document.places[inner] = override or f"{document.file}, line {line}"
            sentence = f"the key '{dotted(inner)}' is written twice (first on line {lines[key]})"
            document.problems.append(Problem(inner, sentence))
            continue
        lines[key] = line
        values[key] = _value(document, value_node, inner, override)
        document.places[inner] = override or f"{document.file}, line {line}"
        _check_key(document, inner)
    node.value = pairs
    return values


def _check_key(document: Document, keys: Keys) -> None:
    if str(keys[-1]).lower().replace("-", "_") in SECRET_KEYS:
        document.problems.append(
            Problem(
                keys,
                f"'{dotted(keys)}' would put a secret into the recipe, which is saved with the run; "
                "keep it in the environment and give only the variable's name (such as api_key_env)",
            )
        )


def _interpolated(document: Document, text: str, keys: Keys) -> str:
    """`text` with `${NAME}` and `${NAME:-default}` filled in; `$${` stands for `${`."""

    def fill(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if match.group() == "$${":
            return "${"
        if name is None:
            sentence = f"'{match.group()}' is not a reference: write ${{NAME}} or ${{NAME:-default}}"
        elif default is not None:
            return document.environment.get(name) or default
        elif name in document.environment:
            return document.environment[name]
        else:
            sentence = f"the environment variable {name} is not set; set it or write ${{{name}:-default}}"
        document.problems.append(Problem(keys, sentence))
        return ""

    filled = _REFERENCE.sub(fill, text)
    if _SECRET_VALUE.search(filled):
        sentence = (
            f"the value of '{dotted(keys)}' looks like a secret key; keys come from the environment by name"
        )
        document.problems.append(Problem(keys, sentence))
    return filled


def _override(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"the override '{key}' is not of the form key=value, such as train.budget.amount=3")
    hidden = _SECRET_VALUE.search(text) or _SECRET_WORD.search(override)
    place = f"in the override {key}=..." if hidden else f"in the override {override}"
    holder, keys = _holder(document.values, parts, place)
    for old in [old for old in document.places if old[: len(keys)] == keys]:
        del document.places[old]
    node = _compose(text, place)
    document.places[keys] = place
    for length in range(1, len(keys)):
        # A section that only the override brought in stands nowhere in the file.
        document.places.setdefault(keys[:length], place)
    holder[keys[-1]] = None if node is None else _value(document, node, keys, place)
    _check_key(document, keys)


def _holder(values: dict[str, Any], parts: Sequence[str], place: str) -> tuple[Any, Keys]:
    """The mapping or list that an override changes, and the whole key; what lacks is made.

    A name alone is short for {name: ...}, so going into one spells it out.
    """
    here: Any = values
    keys: Keys = ()
    for part in parts:
        key: str | int = part
        if isinstance(here, list):
            if not part.isdecimal() or int(part) >= len(here):
                there = f"'{dotted(keys)}' is a list of {len(here)}, counted from 0"
                raise RecipeError(f"{place}: {there}, so '{part}' names nothing in it")
            key = int(part)
        keys = (*keys, key)
        if len(keys) == len(parts):
            break
        inner = here.get(key) if isinstance(here, dict) else here[int(key)]
        if not isinstance(inner, dict | list):
            if inner is not None and not isinstance(inner, str):
                raise RecipeError(f"{place}: '{dotted(keys)}' is {inner!r}, which has no keys of its own")
            inner = {} if inner is None else {"name": inner}
            here[key] = inner
        here = inner
    return here, keys
