"""Group commit: one sync acknowledges all records that came while the one before was under way."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from kubeloop.errors import TransientError
from kubeloop.monitoring.log.segments import SegmentFiles, frame


class FullError(TransientError):
    """More is waiting for the disk than there is room for; nothing of this record was kept."""


class Commit:
    """The fate of the records that one sync covers.

    Attributes:
        error: Why they are not on disk, once done; None: they are.
    """

    __slots__ = ("_callbacks", "_done", "_lock", "error")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._callbacks: list[Callable[[Commit], None]] = []
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether the sync has ended, well or not."""
        return self._done.is_set()

    def when_done(self, call: Callable[["Commit"], None]) -> None:
        """Call it when done, in the committing thread; at once where it is."""
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(call)
                return
        call(self)

    def wait(self, timeout_s: float) -> None:
        """Wait until the records are on disk.

        Raises:
            TransientError: They are not, or not within `timeout_s` seconds.
        """
        if not self._done.wait(timeout_s):
            raise TransientError(f"the disk has not synced within {timeout_s:g} s", "send it again later")
        if self.error is not None:
            raise TransientError(
                f"the inference log could not be written: {self.error}", "free space on its disk, then send it again"
            )

    def finish(self, error: Exception | None) -> None:
        """Tell all who wait."""
        with self._lock:
            self.error = error
            self._done.set()
            calls, self._callbacks = self._callbacks, []
        for call in calls:
            call(self)


class CommitLog:
    """Records in segment files, synced by a thread of its own. `append` may be called from any thread.

    Args:
        files: Where; owned from now on.
        waiting_bytes: Bytes that may wait for the disk; beyond them records are refused.
        unmoved_bytes: Bytes that may lie on disk until they are moved; beyond them records are refused.
        segment_bytes: Size at which a file is sealed.
        segment_s: Age in seconds at which a file is sealed; so much later, at most, a record can be moved.
        linger_s: Seconds to gather records before a sync; 0 where somebody waits for each.
        sync: Puts a file descriptor's data on disk.
    """

    def __init__(
        self,
        files: SegmentFiles,
        *,
        waiting_bytes: int = 32 * 2**20,
        unmoved_bytes: int = 4 * 2**30,
        segment_bytes: int = 8 * 2**20,
        segment_s: float = 1.0,
        linger_s: float = 0.0,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self._files = files
        self._waiting_limit = waiting_bytes
        self._unmoved_limit = unmoved_bytes
        self._segment_bytes = segment_bytes
        self._segment_s = segment_s
        self._linger_s = linger_s
        self._sync = sync
        self._mutex = threading.Lock()
        self._lock = threading.Condition(self._mutex)
        self._records: list[bytes] = []
        self._bytes = 0
        self._commit = Commit()
        self._first: list[bytes] = []
        self._unmoved = 0
        self._closing = False
        self.syncs = 0
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    @property
    def folder(self) -> str:
        """Where the files lie."""
        return str(self._files.folder)

    @property
    def waiting(self) -> int:
        """Bytes that wait for the disk."""
        return self._bytes

    def define(self, payload: bytes) -> None:
        """A record that every file begins with, so that each can be read without the others."""
        record = frame(payload)
        with self._lock:
            self._first.append(record)
            self._put(record)

    def append(self, payload: bytes) -> Commit:
        """Take a record; it is on disk when the commit is done without an error.

        Raises:
            FullError: There is no room; it was not taken.
        """
        record = frame(payload)
        with self._mutex:
            if self._closing:
                raise FullError("the inference log is closing", "send it again", retry_after_s=1.0)
            if self._bytes + len(record) > self._waiting_limit:
                raise FullError(
                    f"{self._bytes} bytes wait for the disk, {self._waiting_limit} may", "send less", retry_after_s=1.0
                )
            if self._unmoved > self._unmoved_limit:
                raise FullError(
                    f"{self._unmoved} bytes of the inference log are not in the SQL store yet, {self._unmoved_limit} "
                    "may be",
                    "see whether the database answers",
                    retry_after_s=10.0,
                )
            self._put(record)
            return self._commit

    def _put(self, record: bytes) -> None:
        self._records.append(record)
        self._bytes += len(record)
        if len(self._records) == 1:
            self._lock.notify()

    def close(self) -> None:
        """Sync what waits, seal the file, end the thread."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join()
        self._files.close()

    def _run(self) -> None:
        sealed_at = time.monotonic() + self._segment_s
        while True:
            with self._lock:
                while not self._records and not self._closing:
                    left = sealed_at - time.monotonic() if self._files.is_open else None
                    if left is not None and left <= 0:
                        break
                    self._lock.wait(left)
                if self._linger_s and self._records and not self._closing:
                    self._lock.wait_for(lambda: self._closing, self._linger_s)
                records, self._records, self._bytes = self._records, [], 0
                commit, self._commit = self._commit, Commit()
                first = list(self._first)
                closing = self._closing
            if records:
                if not self._files.is_open:
                    sealed_at = time.monotonic() + self._segment_s
                commit.finish(self._write(records, first))
            if self._files.is_open and (self._files.size >= self._segment_bytes or time.monotonic() >= sealed_at):
                self._seal()
            if closing:
                return

    def _write(self, records: list[bytes], first: list[bytes]) -> Exception | None:
        try:
            self._sync(self._files.write(records, first))
        except OSError as error:
            # What a failed sync left in the file cannot be known, and after a torn record nothing would be read.
            self._seal()
            return error
        self.syncs += 1
        return None

    def _seal(self) -> None:
        with suppress(OSError):  # it stays open, and is sealed by whoever moves it after us
            self._files.seal()
            self._unmoved = self._files.unmoved()
