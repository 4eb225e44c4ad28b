"""Payloads of logged events: rows of a request, predictions of an answer; V1 and V2, whatever the logger passed on.

An event names neither path nor method nor status nor encoding: what a body is, is told from the body alone.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from kubeloop.errors import InputError
from kubeloop.monitoring.log.privacy import UnusableError
from kubeloop.serving.sink_events import Event, header_length
from kubeloop.serving.tensors import Input, decode_input

MAX_PLAIN = 64 * 2**20
"""Bytes of a body after decompression."""

_GZIP = b"\x1f\x8b"
_GRPC = (b"\0", b"\1")  # a frame begins with its compression flag


def document_of(event: Event) -> tuple[dict[str, Any], bytes]:
    """The JSON object of an event's payload, and the bytes of binary tensors after it.

    Raises:
        UnusableError: There is none; the reason says what came instead.
    """
    if event.document is not None:
        return _an_object(event.document), b""
    if event.metadata:
        return _told(event)
    try:  # nearly every body is plain JSON
        document = orjson.loads(event.body)
    except orjson.JSONDecodeError:
        return _told(event)
    return document if type(document) is dict else _an_object(document), b""


def _told(event: Event) -> tuple[dict[str, Any], bytes]:
    """What a body is that may be more than JSON."""
    body = event.body
    if body[:2] == _GZIP:
        body = _unzipped(body)
    if not body:
        raise UnusableError("empty")
    length = header_length(event)
    if length is not None and length < len(body):
        return _parsed(body[:length]), body[length:]
    try:
        return _an_object(orjson.loads(body)), b""
    except orjson.JSONDecodeError:
        return _with_tail(body)


def request_rows(document: dict[str, Any], tail: bytes, names: Sequence[str]) -> tuple[list[Any], Any]:
    """Rows of a request, and the business keys that it names for them, if any.

    Raises:
        UnusableError: It asks for no prediction.
    """
    rows = document.get("instances")
    if rows is not None:
        if not isinstance(rows, list) or not rows:
            raise UnusableError("no_rows")
        return rows, document.get("keys")
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        raise UnusableError("not_a_prediction")
    parameters = document.get("parameters")
    keys = parameters.get("keys") if isinstance(parameters, dict) else None
    rows = _rows_of_tensors(_tensors(inputs, tail), names)
    if not rows:
        raise UnusableError("no_rows")
    return rows, _listed(keys)


def answers(document: dict[str, Any], tail: bytes) -> tuple[list[Any] | None, list[Any] | None]:
    """Predictions and probabilities of an answer; either may be None.

    Raises:
        UnusableError: It answers no prediction.
    """
    predictions = document.get("predictions")
    if isinstance(predictions, list):
        probabilities = document.get("probabilities")
        if predictions and isinstance(predictions[0], list):  # what KServe's sklearnserver calls PREDICT_PROBA
            return None, predictions
        return predictions, probabilities if isinstance(probabilities, list) else None
    outputs = document.get("outputs")
    if not isinstance(outputs, list):
        raise UnusableError("explanation" if "explanations" in document else "not_a_prediction")
    tensors = _tensors(outputs, tail)
    by_name = {tensor.name: tensor for tensor in tensors}
    labels, shares = by_name.get("predictions"), by_name.get("probabilities")
    if labels is None and shares is None and len(tensors) == 1:
        labels, shares = (None, tensors[0]) if len(tensors[0].shape) == 2 else (tensors[0], None)
    if labels is None and shares is None:
        raise UnusableError("unknown_outputs")
    return None if labels is None else labels.values, None if shares is None else _chunks(shares)


def _listed(keys: Any) -> Any:
    """Keys of V2, whose parameters hold no lists: a JSON list as text."""
    if not isinstance(keys, str):
        return keys
    try:
        return orjson.loads(keys)
    except orjson.JSONDecodeError:
        raise UnusableError("bad_key") from None


def _an_object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise UnusableError("not_an_object")
    return document


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        return _an_object(orjson.loads(content))
    except orjson.JSONDecodeError:
        raise UnusableError("not_json") from None


def _with_tail(body: bytes) -> tuple[dict[str, Any], bytes]:
    """JSON followed by the bytes of binary tensors, where no header says where it ends."""
    if body[:1] in _GRPC:
        raise UnusableError("grpc")
    if body[:1] != b"{":
        raise UnusableError("not_json")
    try:
        # As Latin-1 each byte is a character, and what JSON is made of is ASCII.
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    except (ValueError, RecursionError):
        raise UnusableError("not_json") from None
    return _parsed(body[:end]), body[end:]


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(body, MAX_PLAIN)
    except zlib.error:
        raise UnusableError("bad_gzip") from None
    if unzip.unconsumed_tail:
        raise UnusableError("too_large")
    if not unzip.eof:
        raise UnusableError("bad_gzip")
    return plain


def _tensors(entries: list[Any], tail: bytes) -> list[Input]:
    found: list[Input] = []
    offset = 0
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise UnusableError("bad_tensor")
        parameters = entry.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        raw = None
        if "data" not in entry and type(size) is int and 0 <= size <= len(tail) - offset:
            raw, offset = tail[offset : offset + size], offset + size
        try:
            found.append(decode_input(entry["name"], entry.get("shape"), entry.get("datatype"), entry.get("data"), raw))
        except InputError:
            raise UnusableError("bad_tensor") from None
    return found


def _rows_of_tensors(tensors: list[Input], names: Sequence[str]) -> list[Any]:
    """Rows from one tensor of all columns, or from one tensor for each."""
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].shape[1] == len(names):
        return _chunks(tensors[0])
    by_name = {tensor.name: tensor.values for tensor in tensors}
    if not by_name.keys() >= set(names):
        raise UnusableError("other_columns")
    columns = [by_name[name] for name in names]
    if len({len(column) for column in columns}) != 1:
        raise UnusableError("bad_tensor")
    return [list(row) for row in zip(*columns, strict=True)]


def _chunks(tensor: Input) -> list[Any]:
    width = tensor.shape[-1] if len(tensor.shape) == 2 else 1
    return [tensor.values[start : start + width] for start in range(0, len(tensor.values), width)] if width else []
