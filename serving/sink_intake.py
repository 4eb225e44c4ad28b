"""From events to records: known services only, each event once, nothing written that may not be; all of it counted."""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from kubeloop.monitoring.labels.storing import Label, labels_to_json
from kubeloop.monitoring.log import records
from kubeloop.monitoring.log.commits import Commit, CommitLog
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.privacy import Keeper, UnusableError
from kubeloop.monitoring.log.records import LABELS, REQUEST, Speaker
from kubeloop.serving.sink_events import KEY_HEADER, Event
from kubeloop.serving.sink_payloads import answers, document_of, request_rows

RECENT = 8192
"""Events that are remembered to tell duplicates before they are written; older ones are told when they are moved."""

_VERSIONS = 32


class Service(BaseModel):
    """One service whose events are kept.

    Attributes:
        namespace: Of the InferenceService.
        service: Its name.
        component: Which of its parts.
        models: Its versions, the newest last; events that name no version are the newest one's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str
    service: str
    component: str = "predictor"
    models: tuple[LoggedModel, ...]


class _Voice:
    """One version of one service."""

    __slots__ = ("keeper", "model", "names", "number")

    def __init__(self, number: int, model: LoggedModel, keeper: Keeper) -> None:
        self.number = number
        self.model = model
        self.keeper = keeper
        self.names = [column.name for column in model.columns]


class Intake:
    """Takes events into a log. For one thread.

    Args:
        log: Where records go.
        services: Whose events are kept; those of others are counted as `unknown_service`.
        secret: The key of hashes; needed where a model hashes something.
        clock: Microseconds since 1970 UTC.

    Attributes:
        counts: By (namespace, service, outcome). Outcomes: `stored` and `duplicate`; odd but stored: `odd_time`,
            `unknown_version`, `further_columns`; every other word is the reason why an event was not kept.
        reason: Why the last event that was not kept was not.
    """

    def __init__(
        self, log: CommitLog, services: Sequence[Service], secret: bytes | None, clock: Callable[[], int]
    ) -> None:
        self._log = log
        self._secret = secret
        self.clock = clock
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self._services: dict[tuple[str, str, str], dict[str, _Voice]] = {}
        self._recent: dict[tuple[int, int, str], tuple[int, Commit]] = {}
        self._before = self._recent
        self._numbers = 0
        self.reason = ""
        for service in services:
            voices = self._services.setdefault((service.namespace, service.service, service.component), {})
            for model in service.models:
                voices[model.version] = self._voice(service.namespace, service.service, service.component, model)
            voices[""] = voices[service.models[-1].version]

    def _voice(self, namespace: str, service: str, component: str, model: LoggedModel) -> _Voice:
        number, self._numbers = self._numbers, self._numbers + 1
        voice = _Voice(number, model, Keeper(model, self._secret))
        self._log.define(records.definition(number, Speaker(namespace, service, component, model)))
        return voice

    def take(self, event: Event) -> Commit | None:
        """Take one event.

        Returns:
            The event is on disk when this is done; None: it cannot be used, and sending it again would not help.

        Raises:
            FullError: There is no room; it was not taken.
        """
        try:
            return self._take(event)
        except UnusableError as error:
            self.skip(error.reason, event)
            self.reason = error.reason
            return None

    def skip(self, reason: str, event: Event | None = None) -> None:
        """Count what is not kept; names that are not ours stay out of the counters."""
        known = event is not None and (event.namespace, event.service, event.component) in self._services
        who = (event.namespace, event.service) if event is not None and known else ("", "")
        self.counts[(*who, reason)] += 1

    def _take(self, event: Event) -> Commit:
        voice = self._who(event)
        checksum = zlib.crc32(event.body) if event.document is None else zlib.crc32(orjson.dumps(event.document))
        name = (event.kind, self._services[event.namespace, event.service, event.component][""].number, event.event_id)
        if (commit := self._seen(name, checksum, event)) is not None:
            return commit
        at = event.at
        if at is None:
            at = self.clock()
            self.counts[event.namespace, event.service, "odd_time"] += 1
        commit = self._log.append(self._record(event, voice, at))
        if len(self._recent) >= RECENT:
            self._before, self._recent = self._recent, {}
        self._recent[name] = checksum, commit
        self.counts[event.namespace, event.service, "stored"] += 1
        return commit

    def _who(self, event: Event) -> _Voice:
        voices = self._services.get((event.namespace, event.service, event.component))
        if voices is None:
            raise UnusableError("unknown_service")
        voice = voices.get(event.version)
        if voice is None:
            # A version that the sink was not told of has the newest one's columns; if not, its rows will not fit.
            self.counts[event.namespace, event.service, "unknown_version"] += 1
            voice = voices[""]
            if len(voices) < _VERSIONS:
                model = voice.model.model_copy(update={"version": event.version})
                voice = self._voice(event.namespace, event.service, event.component, model)
                voices[event.version] = voice
        return voice

    def _seen(self, name: tuple[int, int, str], checksum: int, event: Event) -> Commit | None:
        found = self._recent.get(name) or self._before.get(name)
        if found is None or (found[1].done and found[1].error is not None):
            return None
        # The first one stays; another body under the same id is a client that gives its ids twice.
        self.counts[event.namespace, event.service, "duplicate" if found[0] == checksum else "id_used_twice"] += 1
        return found[1]

    def _record(self, event: Event, voice: _Voice, at: int) -> bytes:
        document, tail = document_of(event)
        if event.kind != REQUEST:
            try:
                outputs = orjson.dumps(answers(document, tail))
            except orjson.JSONEncodeError:
                raise UnusableError("bad_value") from None
            return records.encode(event.kind, voice.number, at, event.event_id, b"", outputs)
        rows, keys = request_rows(document, tail, voice.names)
        further = voice.keeper.further
        inputs = orjson.dumps(voice.keeper.rows(rows))
        if voice.keeper.further > further:
            self.counts[event.namespace, event.service, "further_columns"] += 1
        return records.encode(
            REQUEST, voice.number, at, event.event_id, inputs, b"", self._keys(event, keys, rows, voice)
        )

    def _keys(self, event: Event, keys: Any, rows: list[Any], voice: _Voice) -> bytes:
        if keys is None and event.metadata and len(rows) == 1:
            keys = [event.metadata[KEY_HEADER]] if KEY_HEADER in event.metadata else None
        if keys is None:
            return b""
        if not isinstance(keys, list) or len(keys) != len(rows):
            raise UnusableError("bad_key")
        return orjson.dumps(voice.keeper.keys(keys))

    def take_labels(self, namespace: str, service: str, found: Sequence[Label]) -> Commit | None:
        """Take labels of a service; None: it is none of ours.

        Raises:
            FullError: There is no room; none was taken.
            UnusableError: A key cannot be one.
        """
        voices = self._services.get((namespace, service, "predictor"))
        if voices is None:
            return None
        voice = voices[""]
        hashed = [
            label if label.by == "event" else label.model_copy(update={"ident": voice.keeper.keys([label.ident])[0]})
            for label in found
        ]
        payload = records.encode(LABELS, voice.number, self.clock(), "", labels_to_json(hashed))
        commit = self._log.append(payload)
        self.counts[namespace, service, "labels"] += len(found)
        return commit
