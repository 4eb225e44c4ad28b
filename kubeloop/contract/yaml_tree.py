"""YAML as a document that remembers its places.

Scalars follow YAML 1.2: only `true` and `false` are booleans (`no`, `on`, `yes` are text), `2027-01-31`, `010` and
`1:30` are text, `1e3` is a number. Tags are refused, keys are text as written.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from kubeloop.contract.findings import Finding, Path, Problem, contract_error, wrong
from kubeloop.errors import InputError

MOST_BYTES = 1_000_000
MOST_NODES = 50_000
DEEPEST = 24
_LONGEST_INTEGER = 40
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Only composes; nothing is ever constructed from a tag."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own way


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN"),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_pattern})$"), [*_first, *([""] * (_kind == "null"))])


@dataclass(frozen=True)
class Place:
    """Where a value and its key are written; lines and columns count from 1.

    Attributes:
        key: Line and column of the key, or of the value where there is no key.
        value: Line and column of the value.
        text: The value as a person would name it: `the text 'yes'`, `3.0`, `a list`.
    """

    key: tuple[int, int]
    value: tuple[int, int]
    text: str


@dataclass
class Tree:
    """A YAML file as JSON types, and where each part of it stands."""

    file: str
    document: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def find(self, problem: Problem) -> Finding:
        """A problem with its place: its own, else that of the nearest part around it."""
        for length in range(len(problem.path), -1, -1):
            place = self.places.get(problem.path[:length])
            if place is not None:
                at_key = problem.at_key or length < len(problem.path)
                return Finding(problem, self.file, *(place.key if at_key else place.value))
        return Finding(problem, self.file, 1, 1)

    def got(self, path: Path) -> str:
        """What is written at a path."""
        place = self.places.get(path)
        return "nothing" if place is None else place.text


def read_tree(path: FilePath) -> Tree:
    """Read a YAML file that holds one mapping.

    Raises:
        InputError: It cannot be read, is no UTF-8, no YAML, or no mapping. Duplicate keys and the like are in
            `problems`.
    """
    return tree_of(_text(path, str(path)), str(path))


def tree_of(text: str, file: str) -> Tree:
    """Read YAML text that holds one mapping; `file` is its name in messages.

    Raises:
        InputError: It is no YAML, or no mapping.
    """
    _check_shape(text, file)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _no_yaml(error, text, file) from error
    if not isinstance(root, yaml.MappingNode):
        got = "nothing but comments" if root is None else _named(root)
        raise contract_error(
            [Finding(wrong((), "keys and values, such as `kubeloop: 1`", got), file, 1, 1)],
            "begin with `kubeloop: 1`, or let `kubeloop init` write a contract from your table",
        )
    tree = Tree(file)
    tree.document = _convert(tree, root, (), 0)
    return tree


def _text(path: FilePath, file: str) -> str:
    start = "give the path of a loop.yaml; `kubeloop init TABLE --target COL` writes one"
    try:
        if path.is_dir():
            raise InputError(f"{file}: a file was expected, got a directory", f"give {path / 'loop.yaml'}", file=file)
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{file}: there is no such file", start, file=file) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{file}: cannot be read ({reason})", start, file=file) from error
    if len(raw) > MOST_BYTES:
        raise InputError(
            f"{file}: at most {MOST_BYTES:,} bytes were expected, got more", "is this the right file?", file=file
        )
    if not raw.strip():
        raise InputError(f"{file}: a contract was expected, got an empty file", start, file=file)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"{file}:{line}: UTF-8 text was expected, got the byte 0x{raw[error.start]:02x}",
            "save the file as UTF-8",
            file=file,
            line=line,
        ) from error


def _check_shape(text: str, file: str) -> None:
    """Refuse what would make the composer recurse without end, before it does."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                mark = event.start_mark
                line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
                raise contract_error([Finding(_too_deep(()), file, line, column)])
    except yaml.YAMLError as error:
        raise _no_yaml(error, text, file) from error


def _too_deep(path: Path) -> Problem:
    return Problem(path, f"nested deeper than {DEEPEST} levels", f"at most {DEEPEST} levels", "more")


def _no_yaml(error: yaml.YAMLError, text: str, file: str) -> InputError:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        said = " ".join(part for part in (error.context, error.problem) if part)
    else:
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        said = "a character that YAML does not allow"
    written = (text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]
    fix = "correct the line; quote a text that holds `: `, ` #`, or begins with one of @ ` % & * ! | > [ {"
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in said:
        said, fix = "a tab, where YAML allows spaces only", "indent with spaces"
    elif "single document" in said:
        said, fix = "a second document", "remove the line `---` and what follows"
    got = Finding(wrong((), "YAML", said), file, line, column)
    return contract_error([got], fix)


def _convert(tree: Tree, node: yaml.Node, path: Path, depth: int) -> Any:
    """A node as JSON types; notes its place and what is wrong with it."""
    tree.nodes += 1
    if depth > DEEPEST or tree.nodes > MOST_NODES:
        too = _too_deep(path) if depth > DEEPEST else wrong(path, f"at most {MOST_NODES:,} values", "more, by aliases")
        raise contract_error([tree.find(too)])
    place = _at(node)
    tree.places.setdefault(path, Place(place, place, _named(node)))
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return {key: _convert(tree, value, (*path, key), depth + 1) for key, value in _pairs(tree, node, path)}
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_convert(tree, value, (*path, index), depth + 1) for index, value in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in ("str", "bool", "int", "float", "null"):
        try:
            return _scalar(tree, node, path)
        except ValueError:
            tree.problems.append(wrong(path, f"a value of the tag {node.tag}", repr(node.value)))
            return None
    tree.problems.append(wrong(path, "a value without a tag", f"the tag {node.tag.replace(_TAG, '!!')}"))
    return None


def _pairs(tree: Tree, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, yaml.Node]]:
    seen: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            tree.problems.append(wrong(path, "a word as key", _named(key)))
            continue
        name, at = key.value, _at(key)
        if name in seen:
            tree.problems.append(
                Problem(
                    (*path, name),
                    f"the key {name!r} stands twice, first in line {seen[name]}",
                    "once",
                    "twice",
                    None,
                    True,
                )
            )
        seen.setdefault(name, at[0])
        tree.places[*path, name] = Place(at, _at(value), _named(value))
        yield name, value


def _scalar(tree: Tree, node: yaml.ScalarNode, path: Path) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and len(text) <= _LONGEST_INTEGER:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if kind == "float":
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if math.isfinite(number):
            return number
        tree.problems.append(wrong(path, "a finite number", text))
        return 0.0
    return text


def _at(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _named(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "keys and values"
    kind = node.tag.removeprefix(_TAG)
    text = node.value if len(node.value) <= 60 else f"{node.value[:57]}..."
    return "nothing" if kind == "null" else f"the text {text!r}" if kind == "str" else text
