"""CloudEvents around a V1 or V2 request: in binary mode as headers, in structured mode as JSON; answered in kind.

Specification: CloudEvents 1.0, HTTP protocol binding. As with KServe's own servers, CE_TYPE and CE_SOURCE in the
environment name the answers' type and source, and with CE_MERGE=true an answer has its request's further attributes.
"""

import base64
import binascii
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeloop.errors import InputError
from kubeloop.serving import wire

STRUCTURED = "application/cloudevents+json"
TYPE = "io.kserve.inference.response"
_REQUIRED = ("specversion", "id", "source", "type")
_HEADER = "ce-"
_NOT_MERGED = frozenset((*_REQUIRED, "time", "data", "data_base64", "datacontenttype", "content-type"))


@dataclass(frozen=True)
class Event:
    """The envelope that a request came in.

    Attributes:
        structured: Whether it came as one JSON object.
        further: Its attributes beyond those that every answer has of its own.
    """

    structured: bool
    further: dict[str, Any] = field(default_factory=dict)


def unwrap(headers: Mapping[str, str], content_type: str, body: bytes) -> tuple[bytes, Event | None]:
    """The request in an event, and the event; a request without one as it is.

    Args:
        headers: With lower-case names.
        content_type: Without parameters, in lower case.
        body: The body.

    Raises:
        InputError: The event is not one of CloudEvents 1.0.
    """
    if content_type == STRUCTURED:
        document = wire.parse(body)
        for name in _REQUIRED:
            if not isinstance(document.get(name), str) or not document[name]:
                raise InputError(f"the CloudEvent has no `{name}`", f"give it {', '.join(_REQUIRED)}, each a text")
        return _data(document), Event(True, _further(document))
    # An event that lacks an attribute is taken for a plain request, as by KServe.
    if all(f"{_HEADER}{name}" in headers for name in _REQUIRED):
        told = {key.removeprefix(_HEADER): text for key, text in headers.items() if key.startswith(_HEADER)}
        return body, Event(False, _further(told))
    return body, None


def wrap(event: Event, name: str, answer: dict[str, Any]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The answer to an event, as an event of the same mode: body and headers with the content type."""
    merged = event.further if os.environ.get("CE_MERGE", "").lower() == "true" else {}
    attributes = merged | {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": os.environ.get("CE_SOURCE") or f"io.kserve.inference.{name}",
        "type": os.environ.get("CE_TYPE") or TYPE,
    }
    if event.structured:
        document = {**attributes, "datacontenttype": "application/json", "data": answer}
        return wire.dump(document), [(b"content-type", STRUCTURED.encode())]
    # As the request's headers were read, so that they leave as they came.
    headers = [(f"{_HEADER}{key}".encode("latin-1"), text.encode("latin-1")) for key, text in attributes.items()]
    return wire.dump(answer), [(b"content-type", b"application/json"), *headers]


def _further(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key not in _NOT_MERGED}


def _data(document: dict[str, Any]) -> bytes:
    if "data_base64" in document:
        text = document["data_base64"]
        try:
            if isinstance(text, str):
                return base64.b64decode(text, validate=True)
        except binascii.Error:
            pass
        raise InputError("`data_base64` of the CloudEvent is no base64", "send base64, or JSON as `data`")
    data = document.get("data")
    if isinstance(data, str):
        return data.encode("utf-8")
    if not isinstance(data, dict):
        raise InputError(
            f"`data` of the CloudEvent should be an object, {wire.kind(data)} came", "send the request as `data`"
        )
    return wire.dump(data)
