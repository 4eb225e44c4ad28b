"""What the environment says of the events that answers leave in, as KServe's own servers read it."""

import orjson
import pytest

from kubeloop.serving import events

ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "me", "type": "asked", "time": "2026-01-01T00:00:00Z"}
FURTHER = {"subject": "ward 7", "traceparent": "00-ab-cd-01"}
BINARY = {f"ce-{key}": text for key, text in (ATTRIBUTES | FURTHER).items()}


def answered(structured: bool) -> dict[str, object]:
    """The attributes of the answer to an event with further attributes."""
    if structured:
        body = orjson.dumps({**ATTRIBUTES, **FURTHER, "datacontenttype": "application/json", "data": {"instances": []}})
        plain, event = events.unwrap({}, events.STRUCTURED, body)
    else:
        plain, event = events.unwrap(BINARY | {"content-type": "application/json"}, "application/json", b"{}")
    assert plain == (b'{"instances":[]}' if structured else b"{}")
    assert event is not None
    made, headers = events.wrap(event, "toy", {"predictions": []})
    if not structured:
        assert made == b'{"predictions":[]}'
        return {key.decode().removeprefix("ce-"): value.decode() for key, value in headers if key.startswith(b"ce-")}
    document: dict[str, object] = orjson.loads(made)
    assert document.pop("data") == {"predictions": []}
    assert document.pop("datacontenttype") == "application/json"
    return document


@pytest.mark.parametrize("structured", [False, True])
def test_type_source_and_what_is_merged(structured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CE_TYPE", "CE_SOURCE", "CE_MERGE"):
        monkeypatch.delenv(name, raising=False)
    plain = answered(structured)
    assert plain.pop("id") != "1"
    assert plain == {"specversion": "1.0", "source": "io.kserve.inference.toy", "type": events.TYPE}
    for name, text in (("CE_TYPE", "mine"), ("CE_SOURCE", "here"), ("CE_MERGE", "True")):
        monkeypatch.setenv(name, text)
    merged = answered(structured)
    assert merged.pop("id") != "1"
    assert merged == {"specversion": "1.0", "source": "here", "type": "mine", **FURTHER}


def test_what_came_in_a_header_leaves_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CE_MERGE", "true")
    _, event = events.unwrap(BINARY | {"ce-subject": "Gr\u00f6\u00dfe"}, "", b"{}")
    assert event is not None
    assert (b"ce-subject", "Gr\u00f6\u00dfe".encode("latin-1")) in events.wrap(event, "toy", {})[1]
