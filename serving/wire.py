"""Requests and answers as bytes: V1 and V2 JSON in and out, each mistake of a client with its place and its mend.

Values are checked by `kubeloop.learning.inputs.to_frame`, the same function that made the training frame; what is
checked here is the envelope. Rows are counted from 1.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from kubeloop.errors import InputError, PermanentError
from kubeloop.learning.answers import Answers
from kubeloop.learning.inputs import InputColumn, nearest

Mode = Literal["labels", "probabilities", "both"]
"""Which answers a classifier gives; see `kubeloop.contract.serving.Serving`."""

Rows = list[Any]
"""n rows, each a list in the order of the schema or an object by column name."""

OUTPUTS = ("predictions", "probabilities")

_LONGEST = 1000  # characters of a problem, and of a mend
_NOT_JSON = re.compile(rb"\b(?:NaN|Infinity)\b")


@dataclass(frozen=True)
class Tensor:
    """One output of V2. `data` is flat, in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        InputError: It is none; NaN and Infinity are none either.
    """
    if not body.strip():
        raise InputError(
            "a JSON object was expected, the body is empty", 'send {"instances": [...]} or {"inputs": [...]}'
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _NOT_JSON.search(body):
            raise InputError(
                "the body is not JSON: NaN and Infinity are no JSON values", "send null where a value is not known"
            ) from None
        raise InputError(
            f"the body is not JSON: {error.msg}, line {error.lineno}, column {error.colno}",
            "send one JSON object in UTF-8",
        ) from None
    if not isinstance(document, dict):
        raise InputError(f"a JSON object was expected, {kind(document)} came", 'send {"instances": [...]}')
    return document


def v1_rows(document: Mapping[str, Any]) -> Rows:
    """The rows of a V1 request.

    Raises:
        InputError: There is no list `instances`.
    """
    if "instances" not in document:
        if "inputs" in document:
            raise InputError(
                "a V1 body with `instances` was expected, a V2 body came", "post it to /v2/models/<name>/infer"
            )
        raise InputError("the key `instances` is missing", 'send {"instances": [[...], ...]}')
    rows = document["instances"]
    if not isinstance(rows, list):
        raise InputError(f"`instances` should be a list of rows, {kind(rows)} came", 'send {"instances": [[...], ...]}')
    return rows


def unknown_keys(rows: Rows, names: Sequence[str]) -> list[str]:
    """Keys of rows that came as objects and that the model does not have: they are left out, as in a table."""
    known = set(names)
    return list(dict.fromkeys(str(key) for row in rows if isinstance(row, dict) for key in row if key not in known))


def v1_answer(answers: Answers, mode: Mode) -> dict[str, Any]:
    """The V1 answer: `predictions` are labels or values, as V1 demands; all modes but `labels` add `probabilities`."""
    _refuse_not_finite(answers)
    if answers.values is not None:
        return {"predictions": answers.values.tolist()}
    assert answers.labels is not None
    found: dict[str, Any] = {"predictions": answers.labels.tolist()}
    if mode != "labels" and answers.probabilities is not None:
        found["probabilities"] = answers.probabilities.tolist()
    return found


def v2_tensors(answers: Answers, mode: Mode, wanted: Sequence[str], classes: Sequence[Any]) -> list[Tensor]:
    """The V2 answer.

    Args:
        answers: n answers.
        mode: Which of them this endpoint gives when the request names none.
        wanted: Outputs that the request names; empty: all of `mode`.
        classes: The model's classes, whose type gives the datatype.

    Raises:
        InputError: An output is wanted that this model does not have.
    """
    _refuse_not_finite(answers)
    available = output_names(answers.values is not None, mode)
    for name in wanted:
        if name not in available:
            raise InputError(
                f"there is no output {name!r}{nearest(name, available)}", f"this endpoint gives: {', '.join(available)}"
            )
    made: list[Tensor] = []
    for name in wanted or available:
        if name == "probabilities":
            assert answers.probabilities is not None
            shape = list(answers.probabilities.shape)
            made.append(Tensor(name, "FP64", shape, answers.probabilities.ravel().tolist()))
        elif answers.values is not None:
            made.append(Tensor(name, "FP64", [len(answers.values)], answers.values.tolist()))
        else:
            assert answers.labels is not None
            made.append(
                Tensor(name, label_datatype(classes), [len(answers.labels)], _plain_labels(answers.labels, classes))
            )
    return made


def v2_answer(tensors: Sequence[Tensor], name: str, version: str, request_id: str | None) -> dict[str, Any]:
    """The V2 answer as JSON types."""
    outputs = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": tensor.data}
        for tensor in tensors
    ]
    found: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": outputs}
    if request_id is not None:
        found["id"] = request_id
    return found


def output_names(regression: bool, mode: Mode) -> list[str]:
    """The V2 outputs of an endpoint."""
    if regression:
        return ["predictions"]
    return {"labels": ["predictions"], "probabilities": ["probabilities"], "both": list(OUTPUTS)}[mode]


def label_datatype(classes: Sequence[Any]) -> str:
    """The V2 datatype of labels: BOOL, INT64, FP64, or BYTES for texts and mixtures."""
    for datatype, types in (("BOOL", (bool,)), ("INT64", (int,)), ("FP64", (int, float))):
        if classes and all(type(value) in types for value in classes):
            return datatype
    return "BYTES"


def v2_metadata(schema: Sequence[InputColumn], classes: Sequence[Any], mode: Mode) -> tuple[list[Any], list[Any]]:
    """Inputs, one tensor per column, and outputs as V2 metadata; -1 is the number of rows."""
    datatypes = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "timestamp": "FP64"}
    inputs = [{"name": column["name"], "datatype": datatypes[column["kind"]], "shape": [-1]} for column in schema]
    outputs: list[Any] = []
    for name in output_names(not classes, mode):
        if name == "probabilities":
            outputs.append({"name": name, "datatype": "FP64", "shape": [-1, len(classes)]})
        else:
            datatype = label_datatype(classes) if classes else "FP64"
            outputs.append({"name": name, "datatype": datatype, "shape": [-1]})
    return inputs, outputs


def v1_error(error: InputError) -> dict[str, Any]:
    """A client's mistake in V1: the sentence, the mend, and the place where there is one."""
    place: dict[str, Any] = {key: error.context[key] for key in ("column", "row") if key in error.context}
    return {**v2_error(error), **place}


def v2_error(error: InputError) -> dict[str, Any]:
    """A client's mistake in V2's own shape."""
    # What a client made up may be quoted in either; neither shall crowd out the other.
    parts = (error.problem, error.fix)
    return {"error": "; ".join(part if len(part) <= _LONGEST else f"{part[:_LONGEST]}..." for part in parts)}


def dump(document: Any) -> bytes:
    """JSON bytes; a float is written so that it reads back as the same float."""
    return orjson.dumps(document)


def kind(value: Any) -> str:
    """What a JSON value is, for a message."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return words.get(type(value), "a number")


def _plain_labels(labels: NDArray[Any], classes: Sequence[Any]) -> list[Any]:
    plain: list[Any] = labels.tolist()
    return [str(label) for label in plain] if label_datatype(classes) == "BYTES" else plain


def _refuse_not_finite(answers: Answers) -> None:
    """JSON has no NaN: orjson would write null, and a client would take it for an answer."""
    for found in (answers.values, answers.probabilities):
        if found is not None and not np.isfinite(found).all():
            raise PermanentError(
                "the model gave an answer that is no finite number", "look at the model and its training"
            )
