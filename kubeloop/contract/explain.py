"""What pydantic found, in the words of whoever writes a contract."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kubeloop.contract.findings import Path, Problem, hint, listed, near, wrong
from kubeloop.contract.model import Contract

_NAME = "a name of small letters, digits and '-', that starts with a letter and has at most 40 characters"
_PLAIN = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "date_type": "a date such as 2027-12-31",
    "date_from_datetime_parsing": "a date such as 2027-12-31",
    "date_from_datetime_inexact": "a date such as 2027-12-31",
    "date_parsing": "a date such as 2027-12-31",
}
_BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
    "too_short": ("min_length", "at least {} of them"),
    "too_long": ("max_length", "at most {} of them"),
}
_YES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain(error: ValidationError, document: Mapping[str, Any], got: Callable[[Path], str]) -> list[Problem]:
    """One problem per wrong place, in the order of pydantic.

    Args:
        error: From validating `document` as a Contract.
        document: JSON types.
        got: What is written at a path.
    """
    grouped: dict[tuple[Path, str], list[Any]] = defaultdict(list)
    for found in error.errors(include_url=False):
        path = _path(found["loc"], found["type"], document)
        kind = found["type"] if found["type"] in ("missing", "extra_forbidden") else "value"
        grouped[path, kind].append(found)
    problems = [_problem(path, kind, found, document, got) for (path, kind), found in grouped.items()]
    renamed = {(*p.path[:-1], p.nearest) for p in problems if p.message.startswith("unknown key")}
    problems = [p for p in problems if not (p.message.startswith("missing") and p.path in renamed)]
    # A list is also said to be short of the entries that are wrong.
    short = {path for (path, _), each in grouped.items() if each[0]["type"] == "too_short"}
    within = {p.path[:length] for p in problems for length in range(len(p.path))}
    return [p for p in problems if p.path not in short & within]


def value_at(document: Any, path: Path) -> Any:
    """What is at a path of a document of JSON types."""
    for part in path:
        document = document[part]
    return document


def _path(loc: Sequence[str | int], kind: str, document: Any) -> Path:
    """The part of pydantic's location that is in the document: it ends in the names of a union's members."""
    path: list[str | int] = []
    for part in loc:
        here = (isinstance(document, dict) and part in document) or (
            isinstance(document, list) and isinstance(part, int) and part < len(document)
        )
        if not here:
            break
        path.append(part)
        document = document[part]
    if kind == "missing":
        path.append(loc[-1])
    return tuple(path)


def _problem(
    path: Path, kind: str, found: list[Any], document: Mapping[str, Any], got: Callable[[Path], str]
) -> Problem:
    if kind == "missing":
        about = describe(path)
        message = f"missing; expected {about}" if about else "missing"
        return Problem(path, message, about or "a value", "nothing", None, True)
    if kind == "extra_forbidden":
        return _unknown_key(path, document)
    at_key = found[0]["loc"][-1] == "[key]"
    value = path[-1] if at_key else value_at(document, path)
    shown = f"the text {value!r}" if at_key else got(path)
    if found[0]["type"] == "literal_error":
        options = re.findall(r"'([^']*)'", found[0]["ctx"]["expected"])
        expected = found[0]["ctx"]["expected"].replace("'", "")
        return wrong(path, expected, shown, near(str(value), options), at_key=at_key)
    wanted = _either([_expected(each) for each in found])
    return wrong(path, wanted, shown, _nearest(found[0]["type"], value), at_key=at_key)


def _either(expected: list[str]) -> str:
    words = list(dict.fromkeys(expected))
    if "a number" in words and "a whole number" in words:
        words.remove("a whole number")
    return " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])}, or {words[-1]}"


def _expected(found: Any) -> str:
    kind = found["type"]
    if kind in _BOUNDS:
        key, text = _BOUNDS[kind]
        return text.format(found["ctx"][key])
    if kind == "string_pattern_mismatch":
        return _NAME if found["ctx"]["pattern"].startswith("^[a-z](") else f"text like {found['ctx']['pattern']}"
    return _PLAIN.get(kind) or str(found["msg"])


def _nearest(kind: str, value: Any) -> str | None:
    """The value that was probably meant, as one would write it."""
    if kind == "bool_type":
        return _YES.get(str(value).lower())
    if kind == "string_type" and isinstance(value, str | int | float):
        return f'"{str(value).lower() if isinstance(value, bool) else value}"'
    if kind == "tuple_type" and isinstance(value, str | int | float):
        return f"[{value}]"
    if kind in ("int_type", "int_from_float", "float_type"):
        return _number(value, whole=kind != "float_type")
    if kind == "string_pattern_mismatch":
        slug = re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")[:40].rstrip("-")
        return slug if slug[:1].isalpha() else None
    return None


def _number(value: Any, *, whole: bool) -> str | None:
    try:
        number = float(str(value).replace("_", "").replace(",", ""))
        return str(int(number)) if number.is_integer() else None if whole else str(number)
    except (ValueError, OverflowError):
        return None


def _unknown_key(path: Path, document: Mapping[str, Any]) -> Problem:
    word = str(path[-1])
    known = keys_at(path[:-1])
    present = value_at(document, path[:-1])
    close = near(word, [key for key in known if key not in present]) or near(word, known)
    tail = hint(close) if close else f"; known here are: {listed(known, 20)}"
    return Problem(path, f"unknown key{tail}", f"one of {', '.join(known)}", word, close, True)


def keys_at(path: Path) -> list[str]:
    """The keys that the contract knows at a path."""
    return [key for model in _types_at(path) if _is_model(model) for key in model.model_fields]


def describe(path: Path) -> str:
    """What a field is for, in its own words or those of its model; empty where nothing is said."""
    parents = [model for model in _types_at(path[:-1]) if _is_model(model) and path[-1] in model.model_fields]
    if not parents:
        return ""
    field = parents[0].model_fields[str(path[-1])]
    words = field.description or ""
    for model in _types_at(path):
        words = words or (_is_model(model) and model.__doc__) or ""
    first = words.split(". ")[0].split("\n")[0].strip().rstrip(".")
    return first[:1].lower() + first[1:] if not first[1:2].isupper() else first


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _types_at(path: Path) -> list[Any]:
    kinds: list[Any] = [Contract]
    for part in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return kinds


def _inside(kind: Any, part: str | int) -> list[Any]:
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return [] if field is None else _alternatives(field.annotation)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict:
        return _alternatives(arguments[1])
    return _alternatives(arguments[0]) if origin is tuple else []


def _alternatives(kind: Any) -> list[Any]:
    origin = get_origin(kind)
    if origin is Annotated:
        return _alternatives(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [inner for each in get_args(kind) for inner in _alternatives(each)]
    return [] if kind is NoneType or origin is Literal else [kind]
