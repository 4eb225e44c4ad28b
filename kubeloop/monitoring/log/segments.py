"""Append-only segment files: what is acknowledged lies in one of them, synced, until it is in the SQL store.

A writer owns a folder below the log's root, holds a lock on it while it lives, and writes one file at a time:
`<writer>-<number>.open`, renamed to `.seg` when it is sealed. A file is `MAGIC`, then records: length and checksum
(little-endian uint32 each; CRC-32 of the payload, started at `_SEED` so that zeros are no record), then the payload.
The writer's death can tear the last record: it was never acknowledged, and readers stop before it.
"""

import fcntl
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeloop.errors import InputError
from kubeloop.site.addresses import disk_full
from kubeloop.site.model import Site

MAGIC = b"KLOOPLG1"
OPEN, SEALED, DAMAGED = ".open", ".seg", ".damaged"
_HEAD = struct.Struct("<II")
_SEED = 0x6B6C6F67
_LOCK = "writer.lock"


def log_root(site: Site) -> Path:
    """The log's root on this machine.

    Raises:
        InputError: The Site has no folder on a local disk.
    """
    if site.home is None:
        raise InputError(
            "the inference log needs a folder on a local disk, this Site has none", "set home, or name one with --log"
        )
    return site.home / "log"


def frame(payload: bytes) -> bytes:
    """A payload as a record."""
    return _HEAD.pack(len(payload), zlib.crc32(payload, _SEED)) + payload


@dataclass(frozen=True)
class Content:
    """What a segment file holds.

    Attributes:
        payloads: Of its whole records, in the order in which they were written.
        end: Bytes of the file up to the end of the last whole record.
        torn: Bytes after it: the last record of a writer that died.
        damaged: Whether those bytes are no torn end, but a record that was altered.
    """

    payloads: tuple[bytes, ...]
    end: int
    torn: int
    damaged: bool


def read_segment(path: Path) -> Content:
    """The whole records of a segment file, sealed or not."""
    content = path.read_bytes()
    payloads: list[bytes] = []
    place = len(MAGIC) if content.startswith(MAGIC) else 0
    while place and place + _HEAD.size <= len(content):
        size, checksum = _HEAD.unpack_from(content, place)
        end = place + _HEAD.size + size
        payload = content[place + _HEAD.size : end]
        if end > len(content) or zlib.crc32(payload, _SEED) != checksum:
            break
        payloads.append(payload)
        place = end
    torn = len(content) - place
    return Content(tuple(payloads), place, torn, _altered(content, place))


def _altered(content: bytes, place: int) -> bool:
    """Whether what follows the last whole record has an end within the file, and more after it that is not zeros."""
    if place == 0:
        return len(content) >= len(MAGIC) and any(content)
    if place + _HEAD.size > len(content):
        return False
    end = place + _HEAD.size + int(_HEAD.unpack_from(content, place)[0])
    return end < len(content) and any(content[end:])


class SegmentFiles:
    """The files of one writer. Not for several threads.

    Args:
        root: The log's root; the writer's folder is made below it.
        what: Who writes, such as `sink`; part of the folder's name.

    Raises:
        InputError: The folder cannot be made, or the disk is full.
    """

    def __init__(self, root: Path, what: str) -> None:
        self.name = f"{what}-{secrets.token_hex(8)}"
        self.folder = root / self.name
        try:
            self.folder.mkdir(parents=True)
            # Locked before it has its name: a mover must never take a folder that is just being made for a dead one.
            coming = self.folder / f".{_LOCK}"
            self._lock = os.open(coming, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            coming.rename(self.folder / _LOCK)
            _sync_folder(root)
        except OSError as error:
            raise disk_full(error, str(self.folder)) or InputError(
                f"the folder of the inference log {self.folder} cannot be made: {error.strerror}",
                "name a folder on a disk of your own",
                path=str(self.folder),
            ) from None
        self._number = 0
        self._file: int | None = None
        self._path = self.folder
        self.size = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a file that is not sealed."""
        return self._file is not None

    def write(self, records: Sequence[bytes], first: Sequence[bytes]) -> int:
        """Write records, after `first` where the file is new; the file descriptor, to be synced by the caller."""
        if self._file is None:
            self._open()
            records = [MAGIC, *first, *records]
        assert self._file is not None
        content = memoryview(b"".join(records))
        written = 0
        while written < len(content):
            written += os.write(self._file, content[written:])
        self.size += written
        return self._file

    def _open(self) -> None:
        self._number += 1
        self._path = self.folder / f"{self.name}-{self._number:08d}{OPEN}"
        self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = 0
        _sync_folder(self.folder)  # a synced file whose name is lost is lost

    def seal(self) -> None:
        """End the file, so that it can be moved."""
        if self._file is None:
            return
        os.close(self._file)
        self._file = None
        self._path.rename(self._path.with_suffix(SEALED))

    def close(self) -> None:
        """Seal, and let go of the folder."""
        self.seal()
        os.close(self._lock)

    def unmoved(self) -> int:
        """Bytes on disk that are not in the SQL store yet."""
        total = 0
        for entry in os.scandir(self.folder):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:  # moved meanwhile
                continue
        return total


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def writers(root: Path) -> Iterator[Path]:
    """The folders of all writers, dead or alive, by name."""
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if (path / _LOCK).is_file())


def sealed(folder: Path) -> list[Path]:
    """The sealed files of a writer, the oldest first; those that a dead writer left open are sealed first."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.glob(f"*{OPEN}"):
            path.rename(path.with_suffix(SEALED))
    except BlockingIOError:  # it lives
        pass
    finally:
        os.close(handle)
    return sorted(folder.glob(f"*{SEALED}"))


def remove_if_dead(folder: Path) -> None:
    """Remove the folder of a writer that is dead and has nothing left to move."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
