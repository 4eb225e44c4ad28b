"""CloudEvents as KServe's logger sends them: who, which request, when; binary, structured and batched mode.

The real agent of KServe 0.20 sends `Ce-Source: http://localhost:9081/` and an empty `Ce-Endpoint` always, so neither
names anything: an event is keyed by namespace, InferenceService, component and `Ce-Id`, which may be the client's own
and hold spaces or anything else. The content type is that of the request, on the answer too, or missing.
"""

import base64
import binascii
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from kubeloop.monitoring.log.privacy import UnusableError
from kubeloop.monitoring.log.records import ANSWER, REQUEST

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
KINDS = {
    "org.kubeflow.serving.inference.request": REQUEST,
    "org.kubeflow.serving.inference.response": ANSWER,
}
ID_CHARACTERS = 512
KEY_HEADER = "X-Kubeloop-Key"
"""The request header with the business key of a request of one row; `logger.metadataHeaders` must list it."""

_LENGTH_HEADER = "Inference-Header-Content-Length"
_REQUIRED = ("specversion", "id", "source", "type")
_KINDS = {name.encode(): kind for name, kind in KINDS.items()}
_NOTHING: Mapping[str, str] = {}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_AHEAD = 3_600_000_000
"""Microseconds that a sender's clock may be ahead of ours."""


class NotAnEventError(Exception):
    """What came is no CloudEvent; the text tells the client why."""


@dataclass(slots=True)  # frozen takes a microsecond more, which here is much
class Event:
    """One event.

    Attributes:
        kind: REQUEST or ANSWER.
        who: Namespace and name of the InferenceService, and `predictor`, `transformer` or `explainer`.
        event_id: Shared by request and answer.
        at: Microseconds since 1970 UTC; None: the event gives no believable time.
        version: From the annotation `model-version`; empty: none.
        metadata: Request headers that the logger was told to pass on.
        body: The payload as it came, unless `document` holds it.
        document: The payload of a structured event, parsed.
    """

    kind: int
    who: tuple[str, str, str]
    event_id: str
    at: int | None
    version: str
    metadata: Mapping[str, str]
    body: bytes
    document: Any = None


def binary_event(headers: Mapping[bytes, bytes], body: bytes, now: int) -> Event:
    """The event of a request in binary mode.

    Args:
        headers: With lower-case names.
        body: The payload.
        now: Our clock, microseconds since 1970 UTC.

    Raises:
        NotAnEventError: A required attribute is missing.
        UnusableError: It is an event, but none of these that are kept.
    """
    get = headers.get
    kind, name = get(b"ce-type"), get(b"ce-id")
    if kind is None or name is None or b"ce-specversion" not in headers or b"ce-source" not in headers:
        missing = next(word for word in _REQUIRED if f"ce-{word}".encode() not in headers)
        raise NotAnEventError(f"the header Ce-{missing.title()} is missing; send a CloudEvent, as KServe's logger does")
    metadata = get(b"ce-metadata", b"")
    number, event_id = _KINDS.get(kind, 0), _text(name)
    who, version = _speaker(
        get(b"ce-namespace", b""),
        get(b"ce-inferenceservicename", b""),
        get(b"ce-component", b""),
        get(b"ce-annotations", b""),
    )
    _refuse_unusable(number, event_id, who)
    return Event(
        number,
        who,
        event_id,
        _moment(get(b"ce-time", b"").decode("latin-1"), now),
        version,
        _metadata(metadata) if len(metadata) > 2 else _NOTHING,
        body,
    )


def structured_event(document: Any, now: int) -> Event:
    """The event of one JSON object.

    Raises:
        NotAnEventError: It is none.
        UnusableError: It is an event, but none of these that are kept.
    """
    if not isinstance(document, dict):
        raise NotAnEventError("a CloudEvent is a JSON object")
    for name in _REQUIRED:
        if not isinstance(document.get(name), str) or not document[name]:
            raise NotAnEventError(f"the CloudEvent has no {name!r}; give it {', '.join(_REQUIRED)}, each a text")
    body, data = b"", document.get("data")
    if "data_base64" in document:
        try:
            body, data = base64.b64decode(document["data_base64"], validate=True), None
        except (binascii.Error, TypeError, ValueError):
            raise NotAnEventError("data_base64 of the CloudEvent is no base64") from None
    elif isinstance(data, str):
        body, data = data.encode("utf-8"), None

    def text(name: str) -> str:
        value = document.get(name)
        return value if isinstance(value, str) else ""

    who = (text("namespace"), text("inferenceservicename"), text("component") or "predictor")
    _refuse_unusable(KINDS.get(document["type"], 0), document["id"], who)
    metadata = text("metadata").encode("utf-8")
    return Event(
        KINDS[document["type"]],
        who,
        document["id"],
        _moment(text("time"), now),
        _version(text("annotations").encode("utf-8")),
        _metadata(metadata) if metadata else _NOTHING,
        body,
        data,
    )


def _refuse_unusable(kind: int, event_id: str, who: tuple[str, str, str]) -> None:
    if not kind:
        raise UnusableError("other_type")
    if not event_id or len(event_id) > ID_CHARACTERS or "\0" in event_id:
        raise UnusableError("bad_id")
    if not who[0] or not who[1]:
        raise UnusableError("no_service")


def header_length(event: Event) -> int | None:
    """How many bytes of a V2 body are JSON, where the logger passed it on."""
    value = event.metadata.get(_LENGTH_HEADER, "") if event.metadata else ""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 12 else None


@lru_cache(1024)
def _speaker(
    namespace: bytes, service: bytes, component: bytes, annotations: bytes
) -> tuple[tuple[str, str, str], str]:
    """Who says it, and in which version."""
    return (_text(namespace), _text(service), _text(component) or "predictor"), _version(annotations)


def _text(value: bytes) -> str:
    """A header as text: UTF-8, as clients send it, else each byte one character."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _moment(text: str, now: int) -> int | None:
    """RFC 3339 as microseconds since 1970 UTC; None for a time before 1970, in the future, or none at all."""
    try:
        since = dt.datetime.fromisoformat(text) - _EPOCH
    except (ValueError, TypeError):  # no time, or one without a zone
        return None
    moment = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds  # to divide takes twice as long
    return moment if 0 <= moment <= now + _AHEAD else None


@lru_cache(1024)
def _version(annotations: bytes) -> str:
    found = _object(annotations).get("model-version") if annotations else None
    return found[:253].replace("\0", "") if isinstance(found, str) else ""


@lru_cache(64)
def _metadata(content: bytes) -> dict[str, str]:
    """The first value of each header."""
    found = {name: value[0] for name, value in _object(content).items() if isinstance(value, list) and value}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
