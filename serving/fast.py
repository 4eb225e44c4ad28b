"""The short way from a request's body to its answer: decode, score, encode, and nothing between.

It takes what is plainly right and no more. Whatever else comes raises `Unscorable`, and the careful path (`wire`,
`tensors`, `model`) answers it, or says what is wrong with it. So every answer from here is one that the careful path
would give, and no mistake of a client is judged twice.
"""

import struct
from collections.abc import Sequence
from math import isfinite
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import orjson

from kubeloop.packaging.package import Package
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.scorer import Bodies, Words
from kubeloop.scoring.scorer import Scorer as PlanScorer
from kubeloop.serving.rules import Rules
from kubeloop.serving.wire import Mode, label_datatype, output_names

Rows = Sequence[Sequence[Any]]
Scores = list[list[float]]
"""n rows of k probabilities in the order of the classes, or of one value in regression."""

_NONE = type(None)
_PLAIN: dict[str, frozenset[type] | None] = {
    "FP64": None,
    "FP32": None,
    "BYTES": frozenset((str, bool, int, float, _NONE)),  # of several columns in one tensor
    "BOOL": frozenset((bool, _NONE)),
    "INT64": frozenset((int, _NONE)),
    "INT32": frozenset((int, _NONE)),
}
"""Datatypes whose JSON cells need no conversion, and the types a cell must then have; None: the scorer sees to it."""

_BINARY = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
# What `parameters` say, such as a content type for other servers, changes nothing here.
_INFER = frozenset(("inputs", "id", "parameters"))
_TENSOR = frozenset(("name", "shape", "datatype", "data"))
_TENSORS = (_TENSOR, _TENSOR | {"parameters"})


class Scorer(Protocol):
    """What scores rows: a compiled plan."""

    def score_rows(self, rows: Rows, /) -> Scores:
        """Score n rows of JSON cells in the order of the schema; None is missing."""


class Codec:
    """Bodies to rows, and scores to bodies, for one package.

    Args:
        package: The package.
        mode: Which answers a classifier gives.
        name: The name under which it is served.
    """

    def __init__(self, package: Package, mode: Mode, name: str) -> None:
        self.rules = Rules(package.schema)
        self._name, self._version = name, package.digest
        self._names = self.rules.names
        self._width = len(self._names)
        self._known = set(self._names)
        # itemgetter of a single name gives the cell and not a tuple.
        self._by_name = itemgetter(*self._names) if self._width > 1 else lambda row: (row[self._names[0]],)
        self._classes = package.classes
        self._regression = package.task == "regression"
        self._probabilities = mode != "labels"
        self._outputs = output_names(self._regression, mode)
        self._datatype = label_datatype(self._classes)
        self._labels = [str(label) for label in self._classes] if self._datatype == "BYTES" else self._classes
        self._head = orjson.dumps({"model_name": name, "model_version": package.digest})[:-1]

    def compiled(self, scorer: object) -> Bodies | None:
        """The same from body to body in compiled code, for the plainest of requests; None where there is none."""
        if not isinstance(scorer, PlanScorer):
            return None
        if self._datatype == "INT64" and any(abs(label) >= 2**63 for label in self._classes):
            return None
        classes = [
            (orjson.dumps(label), orjson.dumps(text), _packed(text, self._datatype))
            for label, text in zip(self._classes, self._labels, strict=True)
        ]
        return scorer.bodies(Words(self._name, self._version, classes, self._datatype, self._outputs, self._head))

    def v1_rows(self, body: bytes) -> Rows:
        """The rows of a V1 body.

        Raises:
            Unscorable: It is not plainly right.
        """
        document = _parse(body)
        rows = document.get("instances")
        if type(rows) is not list or not rows:
            raise Unscorable
        width = self._width
        kinds = set(map(type, rows))
        if kinds == {list}:
            for row in rows:
                if len(row) != width:
                    raise Unscorable
            return rows
        if kinds != {dict}:
            raise Unscorable
        try:
            made = list(map(self._by_name, rows))
        except KeyError:
            raise Unscorable from None
        if any(len(row) != width for row in rows):
            raise Unscorable
        return made

    def v2_rows(self, body: bytes, json_length: int | None = None) -> tuple[Rows, str | None]:
        """The rows and the id of a V2 body; its first `json_length` bytes are JSON, binary tensors follow.

        Raises:
            Unscorable: It is not plainly right.
        """
        document = _parse(body if json_length is None else body[:json_length])
        inputs, request_id = document.get("inputs"), document.get("id")
        right = type(inputs) is list and inputs and (request_id is None or type(request_id) is str)
        if not right or not document.keys() <= _INFER:
            raise Unscorable
        assert type(inputs) is list
        if json_length is not None:
            inputs = _with_data(inputs, memoryview(body)[json_length:])
        first = inputs[0]
        if type(first) is not dict:
            raise Unscorable
        try:
            if len(inputs) == 1 and (len(first["shape"]) == 2 or first["name"] not in self._known):
                return self._one(first), request_id
            return self._each(inputs), request_id
        except (KeyError, IndexError, TypeError):  # a part is missing, or of a kind that cannot be compared
            raise Unscorable from None

    def columns(self, columns: dict[str, list[Any]]) -> Rows:
        """Rows from one list of cells per column.

        Raises:
            Unscorable: They are not all of the columns, or of different lengths.
        """
        if columns.keys() != self._known:
            raise Unscorable
        try:
            return list(zip(*self._by_name(columns), strict=True))
        except ValueError:
            raise Unscorable from None

    def _one(self, item: dict[str, Any]) -> Rows:
        """The rows of one tensor of all columns."""
        width, data, shape, datatype = self._width, item["data"], item["shape"], item["datatype"]
        if item.keys() not in _TENSORS or type(item["name"]) is not str or type(data) is not list or not data:
            raise Unscorable
        if type(shape) is not list or len(shape) != 2 or type(shape[0]) is not int or shape[1] != width:
            raise Unscorable
        if type(data[0]) is list:
            if set(map(type, data)) != {list} or any(len(row) != width for row in data) or len(data) != shape[0]:
                raise Unscorable
            for row in data:
                _typed(row, datatype)
            return data
        if len(data) != shape[0] * width:
            raise Unscorable
        _typed(data, datatype)
        return [data[start : start + width] for start in range(0, len(data), width)]

    def _each(self, inputs: list[dict[str, Any]]) -> Rows:
        """The rows of one tensor per column."""
        size = inputs[0]["shape"][0]
        if type(size) is not int or size < 1:
            raise Unscorable
        flat, deep = [size], [size, 1]
        columns: dict[str, list[Any]] = {}
        for item in inputs:
            shape, data = item["shape"], item["data"]
            # Four keys of which four are read are these four.
            if (shape != flat and shape != deep) or type(data) is not list or len(data) != size:
                raise Unscorable
            if len(item) != len(_TENSOR) and item.keys() != _TENSORS[1]:
                raise Unscorable
            wanted = _PLAIN[item["datatype"]]
            if wanted is not None and not wanted.issuperset(map(type, data)):
                raise Unscorable
            columns[item["name"]] = data
        if len(columns) != len(inputs):
            raise Unscorable
        return self.columns(columns)

    def v1_body(self, scores: Scores) -> bytes:
        """The V1 answer.

        Raises:
            Unscorable: A score is not finite.
        """
        _finite(scores)
        if self._regression:
            return orjson.dumps({"predictions": [row[0] for row in scores]})
        labels = self.labels(scores, self._classes)
        if self._probabilities:
            return orjson.dumps({"predictions": labels, "probabilities": scores})
        return orjson.dumps({"predictions": labels})

    def v2_body(self, scores: Scores, request_id: str | None) -> bytes:
        """The V2 answer.

        Raises:
            Unscorable: A score is not finite.
        """
        outputs = b",".join(
            b'{"name":"%b","datatype":"%b","shape":%b,"data":%b}'
            % (name.encode(), datatype.encode(), orjson.dumps(shape), orjson.dumps(data))
            for name, datatype, shape, data in self.tensors(scores)
        )
        known = b"" if request_id is None else b',"id":' + orjson.dumps(request_id)
        return b'%b,"outputs":[%b]%b}' % (self._head, outputs, known)

    def tensors(self, scores: Scores) -> list[tuple[str, str, list[int], list[Any]]]:
        """The V2 outputs: name, datatype, shape and flat data of each.

        Raises:
            Unscorable: A score is not finite.
        """
        _finite(scores)
        size = len(scores)
        if self._regression:
            return [("predictions", "FP64", [size], [row[0] for row in scores])]
        made: list[tuple[str, str, list[int], list[Any]]] = []
        for name in self._outputs:
            if name == "probabilities":
                flat = scores[0] if size == 1 else [value for row in scores for value in row]
                made.append((name, "FP64", [size, len(self._classes)], flat))
            else:
                made.append((name, self._datatype, [size], self.labels(scores, self._labels)))
        return made

    @staticmethod
    def labels(scores: Scores, classes: Sequence[Any]) -> list[Any]:
        """The class of each row's largest probability, the first one on a tie."""
        return [classes[row.index(max(row))] for row in scores]


def _packed(label: Any, datatype: str) -> bytes:
    """A label as protocol buffers have it in a tensor's contents: a text with tag and length, a number alone."""
    if datatype == "BYTES":
        text = label.encode()
        return b"\x42" + _varint(len(text)) + bytes(text)
    return struct.pack("<d", label) if datatype == "FP64" else _varint(int(label) % 2**64)


def _varint(number: int) -> bytes:
    """A number, seven bits in a byte, the lowest first."""
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unscorable from None
    if type(document) is not dict:
        raise Unscorable
    return document


def _typed(values: list[Any], datatype: Any) -> None:
    """See that cells are of the tensor's datatype; null is a missing value.

    Raises:
        Unscorable: One is not, or the datatype needs a conversion.
    """
    try:
        wanted = _PLAIN[datatype]
    except (KeyError, TypeError):
        raise Unscorable from None
    if wanted is not None and not wanted.issuperset(map(type, values)):
        raise Unscorable


def _with_data(inputs: list[Any], tail: memoryview) -> list[dict[str, Any]]:
    """Tensors with the values that follow the JSON as their data.

    Raises:
        Unscorable: The sizes do not add up, or a datatype has no fixed width.
    """
    made: list[dict[str, Any]] = []
    offset = 0
    for item in inputs:
        try:
            size, dtype = item["parameters"]["binary_data_size"], np.dtype(_BINARY[item["datatype"]])
            if type(size) is not int or size < 0 or offset + size > len(tail) or size % dtype.itemsize:
                raise Unscorable
            plain = np.frombuffer(tail[offset : offset + size], dtype).tolist()
            made.append({"name": item["name"], "shape": item["shape"], "datatype": item["datatype"], "data": plain})
        except (KeyError, TypeError):
            raise Unscorable from None
        offset += size
        if any(value != value for value in plain):
            made[-1]["data"] = [None if value != value else value for value in plain]
    if offset != len(tail):
        raise Unscorable
    return made


def _finite(scores: Scores) -> None:
    """JSON has no NaN: orjson would write null, and a client would take it for an answer."""
    for row in scores:
        if not isfinite(sum(row)):
            raise Unscorable
