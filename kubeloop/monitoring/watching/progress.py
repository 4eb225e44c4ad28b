"""How far a stream of windows has come.

It is kept with each window's verdict in one transaction, so that no window is judged twice or left out, whatever dies
and however many watch.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from kubeloop.contract.monitoring import Confirm
from kubeloop.digests import canonical_json
from kubeloop.errors import TransientError
from kubeloop.monitoring.watching.reading import Logged, Place
from kubeloop.monitoring.windows.confirm import Memory
from kubeloop.store.tables import watch_streams, watch_windows

StreamName = Literal["inputs", "labels"]
"""`inputs`: what was asked and answered; `labels`: the same once the truth is known."""


class OvertakenError(TransientError):
    """Another process has judged this window."""


@dataclass(frozen=True)
class Progress:
    """Where a stream stands.

    Attributes:
        windows: Windows judged so far.
        after: Behind the last event of the last one.
        before: Behind the last event of the one before.
        events: Events in the last one.
        memory: What the last windows told.
    """

    windows: int
    after: Place
    before: Place
    events: int
    memory: Memory

    def advanced(self, upto: Place, events: int, memory: Memory) -> "Progress":
        """After one more window."""
        return replace(self, windows=self.windows + 1, after=upto, before=self.after, events=events, memory=memory)

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        places = {name: [place.at, place.event_id] for name, place in (("after", self.after), ("before", self.before))}
        return {**places, "events": self.events, "memory": self.memory.document()}


def load(store: sa.Engine, of: Logged, stream: StreamName, confirm: Confirm) -> Progress:
    """Where a stream stands; at the beginning where nothing was judged yet."""
    table = watch_streams
    with store.connect() as connection:
        row = connection.execute(sa.select(table).where(*_of(of, stream))).one_or_none()
    if row is None:
        return Progress(0, Place(), Place(), 0, Memory(confirm))
    found = json.loads(row.document)
    memory = Memory.of(confirm, found["memory"])
    return Progress(row.windows, Place(*found["after"]), Place(*found["before"]), found["events"], memory)


def save(store: sa.Engine, of: Logged, stream: StreamName, progress: Progress, window: dict[str, Any]) -> None:
    """Keep a window's verdict and how far the stream has come with it.

    Args:
        store: From `open_engine`.
        of: Whose.
        stream: Which stream.
        progress: After the window.
        window: The columns of `watch_windows` that are not those of the stream; `document` as JSON types.

    Raises:
        OvertakenError: Another process was faster; `load` again.
    """
    key = {"service": of.service, "model": of.model, "stream": stream}
    words = {"windows": progress.windows, "document": canonical_json(progress.document())}
    entry = {**key, **window, "number": progress.windows, "document": canonical_json(window["document"])}
    overtaken = OvertakenError("another process has judged this window", "go on behind it")
    try:
        with store.begin() as connection:
            if progress.windows == 1:
                connection.execute(sa.insert(watch_streams).values(**key, **words))
            else:
                before = watch_streams.c.windows == progress.windows - 1
                moved = connection.execute(sa.update(watch_streams).where(*_of(of, stream), before).values(**words))
                if moved.rowcount != 1:
                    raise overtaken
            connection.execute(sa.insert(watch_windows).values(**entry))
    except sa.exc.IntegrityError:
        raise overtaken from None


def _of(of: Logged, stream: StreamName) -> tuple[sa.ColumnElement[bool], ...]:
    table = watch_streams
    return table.c.service == of.service, table.c.model == of.model, table.c.stream == stream
