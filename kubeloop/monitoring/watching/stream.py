"""From the log to windows: events in the order of their moments, cut by rows or by time, each window judged once."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from kubeloop.contract.durations import length_of
from kubeloop.contract.monitoring import Detectors
from kubeloop.digests import document_digest
from kubeloop.monitoring.log.reading import micros, moment_of
from kubeloop.monitoring.log.windows import LoggedEvent
from kubeloop.monitoring.watching.progress import OvertakenError, Progress, load, save
from kubeloop.monitoring.watching.questions import Question, Weight
from kubeloop.monitoring.watching.reading import Logged, Place, count_between, events_after
from kubeloop.monitoring.windows.confirm import Memory

PAGE = 2048
"""Events read at once: what is held beside the window that is open."""

_FUTILE = 20
"""A window whose events bring too few rows is closed after so many times its rows, so that it cannot grow for ever."""

Closed = Literal["rows", "time", "futile"]


@dataclass
class _Open:
    """The window that is not full yet.

    Attributes:
        events: Those with rows to judge.
        rows: Their rows.
        seen: Rows that could have been judged.
        taken: Events, those without rows too.
        first: When the first came.
        last: Behind the last.
    """

    events: list[LoggedEvent]
    last: Place
    rows: int = 0
    seen: int = 0
    taken: int = 0
    first: int = -1

    def take(self, event: LoggedEvent, weight: Weight) -> None:
        if not self.taken:
            self.first = event.at
        if weight.rows:
            self.events.append(event)
        self.rows += weight.rows
        self.seen += weight.seen
        self.taken += 1
        self.last = Place(event.at, event.event_id)


class Stream:
    """The windows of one version of one service, by one question.

    Args:
        store: From `open_engine`.
        of: Whose.
        question: Judges them.
        words: The contract's words about windows.
        full: Rows of a full window.

    Attributes:
        full: As given.
    """

    def __init__(self, store: sa.Engine, of: Logged, question: Question, words: Detectors, full: int) -> None:
        self._store = store
        self._of = of
        self._question = question
        self._words = words
        self.full = full
        self._length = length_of(words.window.time) // dt.timedelta(microseconds=1) if words.window.time else None
        self._progress: Progress | None = None
        self._open = _Open([], Place())

    @property
    def rows(self) -> int:
        """Rows in the window that is open."""
        return self._open.rows

    def step(self, settled: int, now: dt.datetime) -> Iterator[dict[str, Any]]:
        """Judge all windows that are full; each is kept in the store when it is given.

        Args:
            settled: The moment up to which nothing more is expected, microseconds since 1970 UTC.
            now: The clock.

        Raises:
            KubeloopError: The database; the next step goes on where this one ended.
        """
        try:
            yield from self._step(self._question.upto(settled, now), now)
        except OvertakenError:
            self._progress = None
        except BaseException:
            self._progress = None
            raise

    def _step(self, upto: int, now: dt.datetime) -> Iterator[dict[str, Any]]:
        if self._progress is None:
            self._progress = load(self._store, self._of, self._question.name, self._words.confirm)
            self._open = _Open([], self._progress.after)
        more = True
        while more:
            page = events_after(self._store, self._of, self._open.last, upto, PAGE)
            more = len(page) == PAGE
            for event, weight in zip(page, self._question.weigh(page, now), strict=True):
                if self._open.taken and self._ended(event.at):
                    yield self._close("time", now)
                self._open.take(event, weight)
                if self._open.rows >= self.full:
                    yield self._close("rows", now)
                elif max(self._open.seen, self._open.taken) >= _FUTILE * self.full:
                    yield self._close("futile", now)
        if self._open.taken and self._ended(upto):
            yield self._close("time", now)

    def _ended(self, at: int) -> bool:
        """Whether a moment lies behind the stretch of time of the open window: windows end at whole lengths, UTC."""
        return self._length is not None and at // self._length > self._open.first // self._length

    def _close(self, closed: Closed, now: dt.datetime) -> dict[str, Any]:
        assert self._progress is not None
        before, done = self._progress, self._open
        said = self._question.judge(done.events, self._left_out(done), now)
        memory = Memory.of(self._words.confirm, before.memory.document())
        told = [one.answer.signal.name for one in said.verdict.told]
        confirmed = memory.see(told) if said.verdict.judged else None
        after = before.advanced(done.last, done.taken, memory)
        kept = before.memory.document()["present"]
        document = {
            **self._names(),
            "id": self._id(before.after, done.last),
            "number": after.windows,
            "from": moment_of(done.first).isoformat(),
            "to": moment_of(done.last.at).isoformat(),
            "judged_at": now.isoformat(),
            "closed": closed,
            "events": done.taken,
            "seen": done.seen,
            "late": self._late(before),
            **said.verdict.document(),
            "unusual": {
                kind: {"count": len(said.verdict.unusual[kind]), "rows": [list(row) for row in rows]}
                for kind, rows in said.unusual.items()
            },
            "present": list(confirmed.present) if confirmed else kept,
            "fresh": list(confirmed.fresh) if confirmed else [],
            "confirm": {"windows": self._words.confirm.windows, "of": self._words.confirm.of},
            "shapes": [asdict(shape) for shape in said.shapes],
            **said.facts,
        }
        save(self._store, self._of, self._question.name, after, _columns(document, done, now))
        self._progress, self._open = after, _Open([], done.last)
        return document

    def _names(self) -> dict[str, Any]:
        key = self._of.key
        return {
            "stream": self._question.name,
            "namespace": key.namespace,
            "service": key.service,
            "component": key.component,
            "version": key.version,
        }

    def _id(self, after: Place, upto: Place) -> str:
        return document_digest({**self._names(), "after": [after.at, after.event_id], "upto": [upto.at, upto.event_id]})

    def _left_out(self, done: _Open) -> dict[str, int]:
        reason = "no_request" if self._question.name == "inputs" else "no_label"
        counted = Counter({reason: done.taken - len(done.events)})
        return dict(+counted)

    def _late(self, before: Progress) -> int:
        """Events that came after the window before was judged, and lie in it: they are in no window."""
        if not before.windows:
            return 0
        return max(0, count_between(self._store, self._of, before.before, before.after) - before.events)


def _columns(document: dict[str, Any], done: _Open, now: dt.datetime) -> dict[str, Any]:
    return {
        "id": document["id"],
        "first_at": done.first,
        "last_at": done.last.at,
        "judged_at": micros(now),
        "sent_at": None,
        "alarm": document["alarm"],
        "document": document,
    }
