"""Records of the inference log as bytes: what a segment's payloads mean."""

import json
import struct
from dataclasses import dataclass
from typing import Any

from kubeloop.digests import canonical_json
from kubeloop.monitoring.log.models import LoggedModel

DEFINITION, REQUEST, ANSWER, BOTH, LABELS = range(5)
"""Kinds of records: who speaks; a request; an answer; both at once; late labels."""

_HEAD = struct.Struct("<BIqHII")  # kind, speaker, microseconds, bytes of id, of keys, of inputs; outputs are the rest


@dataclass(frozen=True)
class Speaker:
    """Whose records follow under a number.

    Attributes:
        namespace: Of the InferenceService.
        service: Its name.
        component: `predictor`, `transformer` or `explainer`.
        model: Which version answers.
    """

    namespace: str
    service: str
    component: str
    model: LoggedModel


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
        kind: One of the kinds above.
        speaker: Number of its speaker in this segment.
        at: Microseconds since 1970 UTC: of a request or an answer, by the event; of labels, their arrival.
        event_id: The event's id; empty for labels and definitions.
        keys: JSON list of business keys, one per row; empty: none.
        inputs: JSON rows; of labels, JSON of `kubeloop.monitoring.labels.Label`s; of a definition, its JSON.
        outputs: JSON `[predictions, probabilities]`.
    """

    kind: int
    speaker: int
    at: int
    event_id: str
    keys: bytes
    inputs: bytes
    outputs: bytes


def encode(
    kind: int, speaker: int, at: int, event_id: str, inputs: bytes, outputs: bytes = b"", keys: bytes = b""
) -> bytes:
    """A record as a payload; the arguments are those of `Record`."""
    name = event_id.encode("utf-8")
    return b"".join((_HEAD.pack(kind, speaker, at, len(name), len(keys), len(inputs)), name, keys, inputs, outputs))


def decode(payload: bytes) -> Record:
    """The record of a payload."""
    kind, speaker, at, name, keys, inputs = _HEAD.unpack_from(payload)
    a = _HEAD.size + name
    b, c = a + keys, a + keys + inputs
    event_id = payload[_HEAD.size : a].decode("utf-8")
    return Record(kind, speaker, at, event_id, payload[a:b], payload[b:c], payload[c:])


def definition(number: int, speaker: Speaker) -> bytes:
    """The payload that says who speaks under a number."""
    document = {
        "namespace": speaker.namespace,
        "service": speaker.service,
        "component": speaker.component,
        "model": speaker.model.model_dump(mode="json"),
    }
    return encode(DEFINITION, number, 0, "", canonical_json(document).encode("ascii"))


def speaker_of(record: Record) -> Speaker:
    """The speaker of a definition."""
    document: dict[str, Any] = json.loads(record.inputs)
    model = LoggedModel.model_validate(document["model"])
    return Speaker(document["namespace"], document["service"], document["component"], model)
