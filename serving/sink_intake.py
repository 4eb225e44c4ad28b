"""From events to records: known services only, each event once, nothing written that may not be; all of it counted."""

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
from kubeloop.packaging.manifest import GOLDEN_ID
from kubeloop.serving.sink_events import KEY_HEADER, Event
from kubeloop.serving.sink_payloads import answers, document_of, request_rows

RECENT = 8192
"""Events that are remembered to tell duplicates before they are written; older ones are told when they are moved."""

_VERSIONS = 32
_Name = tuple[int, int, str]
"""Kind, number of the service, id: quicker to hash than the service's names."""


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


class _Voices:
    """All versions of one service."""

    __slots__ = ("by_version", "newest", "number", "stored", "who")

    def __init__(self, number: int, who: tuple[str, str, str]) -> None:
        self.number = number
        self.who = who
        self.stored = (*who[:2], "stored")
        self.by_version: dict[str, _Voice] = {}
        self.newest: _Voice

    def outcome(self, word: str) -> tuple[str, str, str]:
        return self.who[0], self.who[1], word


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
        self._services: dict[tuple[str, str, str], _Voices] = {}
        self._recent: dict[_Name, tuple[int, Commit]] = {}
        self._before = self._recent
        self._numbers = 0
        self.reason = ""
        for service in services:
            who = (service.namespace, service.service, service.component)
            voices = self._services[who] = _Voices(len(self._services), who)
            for model in service.models:
                voices.newest = voices.by_version[model.version] = self._voice(who, model)
            voices.by_version[""] = voices.newest

    def _voice(self, who: tuple[str, str, str], model: LoggedModel) -> _Voice:
        number, self._numbers = self._numbers, self._numbers + 1
        voice = _Voice(number, model, Keeper(model, self._secret))
        self._log.define(records.definition(number, Speaker(*who, model)))
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
        known = event is not None and event.who in self._services
        who = event.who[:2] if event is not None and known else ("", "")
        self.counts[(*who, reason)] += 1

    def _take(self, event: Event) -> Commit:
        voices = self._services.get(event.who)
        if voices is None:
            raise UnusableError("unknown_service")
        if event.event_id == GOLDEN_ID or (event.metadata and event.metadata.get("X-Request-Id") == GOLDEN_ID):
            raise UnusableError("golden")
        voice = voices.by_version.get(event.version) or self._unknown(voices, event.version)
        body = event.body if event.document is None else orjson.dumps(event.document)
        checksum = hash(body)
        name = (event.kind, voices.number, event.event_id)
        seen = self._recent.get(name) or self._before.get(name)
        if seen is not None and not (seen[1].done and seen[1].error is not None):
            # The first one stays; another body under the same id is a client that gives its ids twice.
            self.counts[voices.outcome("duplicate" if seen[0] == checksum else "id_used_twice")] += 1
            return seen[1]
        at = event.at
        if at is None:
            at = self.clock()
            self.counts[voices.outcome("odd_time")] += 1
        commit = self._log.append(self._record(event, voice, at))
        if len(self._recent) >= RECENT:
            self._before, self._recent = self._recent, {}
        self._recent[name] = checksum, commit
        self.counts[voices.stored] += 1
        return commit

    def _unknown(self, voices: _Voices, version: str) -> _Voice:
        """A version that the sink was not told of has the newest one's columns; if not, its rows will not fit."""
        self.counts[voices.outcome("unknown_version")] += 1
        if len(voices.by_version) >= _VERSIONS:
            return voices.newest
        model = voices.newest.model.model_copy(update={"version": version})
        voice = voices.by_version[version] = self._voice(voices.who, model)
        return voice

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
            self.counts[event.who[0], event.who[1], "further_columns"] += 1
        kept = b"" if keys is None and not event.metadata else self._keys(event, keys, rows, voice)
        return records.encode(REQUEST, voice.number, at, event.event_id, inputs, b"", kept)

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
        voice = voices.newest
        hashed = [
            label if label.by == "event" else label.model_copy(update={"ident": voice.keeper.keys([label.ident])[0]})
            for label in found
        ]
        payload = records.encode(LABELS, voice.number, self.clock(), "", labels_to_json(hashed))
        commit = self._log.append(payload)
        self.counts[namespace, service, "labels"] += len(found)
        return commit
