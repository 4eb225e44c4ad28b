"""V2's tensors as rows: one tensor of shape [n, columns], or one tensor per column; as JSON, as bytes, or from gRPC."""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn, nearest
from kubeloop.serving.wire import Rows, kind

_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_INTEGERS = {f"{sign}INT{bits}": f"<{sign.lower() or 'i'}{bits // 8}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_BOOL = {"BOOL": "?"}
DATATYPES = (*_FLOATS, *_INTEGERS, *_BOOL, "BYTES")
_MAX_RANK = 4


@dataclass(frozen=True)
class Input:
    """One tensor of a request.

    Attributes:
        name: Its name.
        shape: Its shape, checked against the data.
        values: Its values, flat, in row-major order; None is missing.
    """

    name: str
    shape: tuple[int, ...]
    values: list[Any]


@dataclass(frozen=True)
class Request:
    """A V2 request whose envelope is right."""

    id: str | None
    inputs: list[Input]
    wanted: list[str]


def v2_request(document: Mapping[str, Any], tail: bytes = b"") -> Request:
    """The request in a V2 JSON body.

    Args:
        document: The JSON object.
        tail: What follows it in the body: the bytes of binary tensors, in the order of the inputs.

    Raises:
        InputError: The envelope is wrong.
    """
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InputError(f"`id` should be a text, {kind(request_id)} came", "send it as a text, or leave it out")
    found = document.get("inputs")
    if found is None and "instances" in document:
        raise InputError("a V2 body with `inputs` was expected, a V1 body came", "post it to /v1/models/<name>:predict")
    if not isinstance(found, list) or not found:
        came = "nothing" if found is None else "an empty list" if found == [] else kind(found)
        raise InputError(
            f"`inputs` should be a list of tensors, {came} came", "send one tensor of all columns, or one per column"
        )
    inputs: list[Input] = []
    offset = 0
    for number, entry in enumerate(found, start=1):
        made, offset = _json_input(entry, number, tail, offset)
        inputs.append(made)
    if offset != len(tail):
        raise InputError(
            f"the inputs name {offset} binary bytes, {len(tail)} came", "make the binary_data_size of the inputs add up"
        )
    return Request(request_id, inputs, _wanted(document.get("outputs")))


def rows_of(inputs: Sequence[Input], schema: Sequence[InputColumn]) -> tuple[Rows, list[str]]:
    """The rows of a request, in the order of the schema, and the tensors that the model has no column for.

    Raises:
        InputError: The tensors are neither one of all columns nor one per column.
    """
    names = [column["name"] for column in schema]
    if len(inputs) == 1 and (len(inputs[0].shape) == 2 or inputs[0].name not in names):
        return _one_tensor(inputs[0], names), []
    _names_agree([item.name for item in inputs], names)
    by_name = {item.name: item for item in inputs}
    for item in inputs:
        if len(item.shape) not in (1, 2) or (len(item.shape) == 2 and item.shape[1] != 1):
            raise InputError(
                f"the tensor of column {item.name!r} has the shape {list(item.shape)}, [n] or [n, 1] was expected",
                "send one value per row",
                column=item.name,
            )
        if item.shape[0] != inputs[0].shape[0]:
            raise InputError(
                f"the tensor of column {item.name!r} has {item.shape[0]} rows, that of {inputs[0].name!r} has "
                f"{inputs[0].shape[0]}",
                "send the same number of rows for every column",
                column=item.name,
            )
    rows = [list(row) for row in zip(*(by_name[name].values for name in names), strict=True)]
    return rows, [name for name in by_name if name not in names]


def decode_input(name: str, shape: Any, datatype: Any, values: Any = None, raw: bytes | None = None) -> Input:
    """One tensor from its parts, as JSON values or as little-endian bytes.

    Raises:
        InputError: Shape, datatype and data do not agree.
    """
    sizes = _shape(name, shape)
    word = datatype.upper() if isinstance(datatype, str) else datatype
    if word not in DATATYPES:
        hint = nearest(word, DATATYPES) if isinstance(word, str) else ""
        raise _bad(name, f"has the datatype {datatype!r}{hint}", f"use one of {', '.join(DATATYPES)}")
    flat = _from_bytes(name, word, raw) if raw is not None else _checked(name, word, _flat(name, values))
    if len(flat) != math.prod(sizes):
        raise _bad(name, f"has {len(flat)} values for the shape {list(sizes)}", "make shape and data agree")
    return Input(name, sizes, flat)


def _json_input(entry: Any, number: int, tail: bytes, offset: int) -> tuple[Input, int]:
    """One entry of `inputs`, and where the next one's bytes begin."""
    if not isinstance(entry, dict):
        raise InputError(f"input {number} should be an object, {kind(entry)} came", "give name, shape, datatype, data")
    for key in ("name", "shape", "datatype"):
        if key not in entry:
            raise InputError(f"input {number} has no `{key}`", "give name, shape, datatype and data")
    name = entry["name"]
    if not isinstance(name, str):
        raise InputError(f"the name of input {number} should be a text, {kind(name)} came", "name the input")
    if "data" in entry:
        return decode_input(name, entry["shape"], entry["datatype"], entry["data"]), offset
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if type(size) is not int or size < 0:
        raise _bad(name, "has neither `data` nor a binary_data_size", "give its values as `data`")
    if offset + size > len(tail):
        raise _bad(
            name,
            f"needs {size} binary bytes, {len(tail) - offset} are left in the body",
            "send the bytes after the JSON, and its length as Inference-Header-Content-Length",
        )
    return decode_input(name, entry["shape"], entry["datatype"], raw=tail[offset : offset + size]), offset + size


def _wanted(outputs: Any) -> list[str]:
    if outputs is None:
        return []
    if not isinstance(outputs, list):
        raise InputError(f"`outputs` should be a list, {kind(outputs)} came", "leave it out to get all outputs")
    for entry in outputs:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InputError("each of `outputs` should be an object with a name", 'send {"name": "predictions"}')
    return list(dict.fromkeys(entry["name"] for entry in outputs))


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    right = isinstance(shape, Sequence) and not isinstance(shape, str) and 0 < len(shape) <= _MAX_RANK
    if not right or any(type(size) is not int or not 0 <= size < 2**31 for size in shape):
        raise _bad(name, "has no right shape", "give the shape as a list of whole numbers, such as [n, columns]")
    return tuple(shape)


def _flat(name: str, values: Any) -> list[Any]:
    """Values in row-major order, nested or not."""
    if not isinstance(values, list):
        raise _bad(name, f"has {kind(values)} as data", "give the data as a list")
    depth = 0
    while values and all(isinstance(item, list) for item in values):
        depth += 1
        if depth >= _MAX_RANK or len({len(item) for item in values}) != 1:
            raise _bad(name, "has ragged data", "give every row the same number of values")
        values = [value for item in values for value in item]
    if any(isinstance(item, (list, dict)) for item in values):
        raise _bad(name, "has ragged data", "give every row the same number of values")
    return list(values)


def _checked(name: str, datatype: str, values: list[Any]) -> list[Any]:
    """Values that the datatype allows; null is a missing value, a number may come as text."""
    if datatype in _INTEGERS:
        wrong = [i for i, value in enumerate(values) if isinstance(value, float) and not value.is_integer()]
    elif datatype == "BOOL":
        wrong = [i for i, value in enumerate(values) if isinstance(value, (int, float)) and value not in (0, 1)]
        values = [bool(value) if type(value) in (int, float) and value in (0, 1) else value for value in values]
    elif datatype == "BYTES":
        wrong = [i for i, value in enumerate(values) if isinstance(value, bytes) and not _is_text(value)]
        values = [_text(value) if isinstance(value, bytes) else value for value in values]
    else:
        wrong = []
    if wrong:
        raise _bad(
            name, f"has a value at position {wrong[0] + 1} that is no {datatype}", "make datatype and data agree"
        )
    return values


def _from_bytes(name: str, datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        return _texts(name, raw)
    dtype = np.dtype((_FLOATS | _INTEGERS | _BOOL)[datatype])
    if len(raw) % dtype.itemsize:
        raise _bad(name, f"has {len(raw)} bytes, no multiple of {dtype.itemsize}", "make datatype and data agree")
    if datatype == "BOOL":
        return [value != 0 for value in raw]
    return list(np.frombuffer(raw, dtype=dtype).tolist())


def _texts(name: str, raw: bytes) -> list[str]:
    """BYTES in binary: each text after its length in 4 bytes, little-endian."""
    found: list[str] = []
    offset = 0
    while offset < len(raw):
        size = struct.unpack_from("<I", raw, offset)[0] if offset + 4 <= len(raw) else len(raw)
        value = raw[offset + 4 : offset + 4 + size]
        if offset + 4 + size > len(raw) or not _is_text(value):
            raise _bad(
                name, "has bytes that are no texts with their lengths", "send UTF-8 texts, each after its length"
            )
        found.append(_text(value))
        offset += 4 + size
    return found


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes) -> str:
    return value.decode("utf-8")


def _one_tensor(item: Input, names: Sequence[str]) -> Rows:
    if len(item.shape) != 2 or item.shape[1] != len(names):
        raise InputError(
            f"the tensor {item.name!r} has the shape {list(item.shape)}, [n, {len(names)}] was expected",
            f"send the columns in this order: {', '.join(names)}; or one tensor per column",
        )
    width = len(names)
    return [item.values[start : start + width] for start in range(0, len(item.values), width)]


def _names_agree(given: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in given]
    twice = [name for name in given if given.count(name) > 1]
    if missing or twice:
        which, what = (missing[0], "is missing") if missing else (twice[0], "comes twice")
        unknown = [name for name in given if name not in names]
        hint = f", but an unknown {unknown[0]!r} came" if missing and unknown else ""
        raise InputError(
            f"the tensor of column {which!r} {what}{hint}",
            f"send one tensor for each column: {', '.join(names)}; a value that is not known is null",
            column=which,
        )


def _bad(name: str, what: str, fix: str) -> InputError:
    return InputError(f"the tensor {name!r} {what}", fix, column=name)
