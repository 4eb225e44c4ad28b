"""Segment files: whole records in, whole records out, whatever happened to the end of the file."""

import os
import threading
from pathlib import Path

import pytest

from kubeloop.errors import InputError, TransientError
from kubeloop.monitoring.log.commits import CommitLog, FullError
from kubeloop.monitoring.log.segments import (
    MAGIC,
    SegmentFiles,
    frame,
    log_root,
    read_segment,
    remove_if_dead,
    sealed,
    writers,
)
from kubeloop.site import Site, laptop


def written(root: Path, payloads: list[bytes]) -> Path:
    files = SegmentFiles(root, "test")
    files.write([frame(payload) for payload in payloads], ())
    files.close()
    (path,) = files.folder.glob("*.seg")
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    payloads = [b"", b"a", os.urandom(70_000), b"\0" * 40]
    content = read_segment(written(tmp_path, payloads))
    assert content.payloads == tuple(payloads)
    assert (content.torn, content.damaged) == (0, False)


def test_every_cut_of_the_file_leaves_the_records_before_it(tmp_path: Path) -> None:
    payloads = [b"first", b"second record", b"third"]
    path = written(tmp_path, payloads)
    whole = path.read_bytes()
    ends = [len(MAGIC) + sum(len(frame(p)) for p in payloads[:count]) for count in range(4)]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        content = read_segment(path)
        assert content.payloads == tuple(payloads[: sum(end <= cut for end in ends[1:])])
        assert not content.damaged, cut
        assert (content.torn > 0) == (cut not in (0, *ends))


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 100])
def test_zeros_after_the_end_are_no_records(tmp_path: Path, zeros: int) -> None:
    """A file system may have grown the file before the data came."""
    path = written(tmp_path, [b"first"])
    path.write_bytes(path.read_bytes() + b"\0" * zeros)
    content = read_segment(path)
    assert (content.payloads, content.torn, content.damaged) == ((b"first",), zeros, False)


def test_an_altered_record_within_is_damage_not_a_torn_end(tmp_path: Path) -> None:
    path = written(tmp_path, [b"first", b"second", b"third"])
    content = bytearray(path.read_bytes())
    content[content.index(b"second")] ^= 1
    path.write_bytes(content)
    assert (read_segment(path).payloads, read_segment(path).damaged) == ((b"first",), True)


def test_a_living_writers_open_file_is_left_alone_a_dead_ones_is_sealed(tmp_path: Path) -> None:
    files = SegmentFiles(tmp_path, "test")
    files.write([frame(b"one")], ())
    assert list(writers(tmp_path)) == [files.folder]
    assert sealed(files.folder) == []
    remove_if_dead(files.folder)
    assert files.folder.is_dir()
    os.close(files._lock)  # as the kernel does when it dies
    (path,) = sealed(files.folder)
    assert read_segment(path).payloads == (b"one",)
    path.unlink()
    remove_if_dead(files.folder)
    assert not files.folder.exists()


def test_acknowledged_only_after_the_sync(tmp_path: Path) -> None:
    syncing, go = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        syncing.set()
        assert go.wait(120)

    log = CommitLog(SegmentFiles(tmp_path, "test"), sync=sync)
    first = log.append(b"first")
    assert syncing.wait(120)
    second = log.append(b"second")
    third = log.append(b"third")
    assert second is third, "what comes during a sync shares the next one"
    assert not first.done
    with pytest.raises(TransientError, match=r"has not synced within 0\.01 s"):
        first.wait(0.01)
    go.set()
    first.wait(120)
    third.wait(120)
    assert log.syncs == 2
    log.close()


def test_a_failed_sync_acknowledges_nothing_and_the_next_one_goes_to_another_file(tmp_path: Path) -> None:
    fails = [True]

    def sync(_: int) -> None:
        if fails.pop() if fails else False:
            raise OSError(5, "Input/output error")

    log = CommitLog(SegmentFiles(tmp_path, "test"), sync=sync)
    with pytest.raises(TransientError, match=r"could not be written: .*Input/output error"):
        log.append(b"lost").wait(120)
    log.append(b"kept").wait(120)
    log.close()
    assert [read_segment(path).payloads for path in sorted(Path(log.folder).glob("*.seg"))] == [(b"lost",), (b"kept",)]


def pour(log: CommitLog, wait: bool = False) -> None:
    for _ in range(100):
        commit = log.append(b"x" * 100)
        if wait:
            commit.wait(120)


def test_memory_is_bounded(tmp_path: Path) -> None:
    go = threading.Event()

    def sync(_: int) -> None:
        go.wait(120)

    log = CommitLog(SegmentFiles(tmp_path, "test"), waiting_bytes=1000, sync=sync)
    with pytest.raises(FullError, match="bytes wait for the disk, 1000 may"):
        pour(log)
    assert log.waiting <= 1000
    go.set()
    log.close()


def test_disk_is_bounded_while_nobody_moves(tmp_path: Path) -> None:
    log = CommitLog(SegmentFiles(tmp_path, "test"), unmoved_bytes=1000, segment_bytes=100)
    with pytest.raises(FullError, match="not in the SQL store yet, 1000 may be"):
        pour(log, wait=True)
    log.close()


def test_files_are_sealed_by_size_and_by_age_and_begin_with_the_definitions(tmp_path: Path) -> None:
    log = CommitLog(SegmentFiles(tmp_path, "test"), segment_bytes=50, segment_s=0.02)
    log.define(b"who")
    log.append(b"a" * 60).wait(120)
    log.append(b"b").wait(120)  # sealed by age, while nothing comes
    while list(Path(log.folder).glob("*.open")):
        threading.Event().wait(0.005)
    log.close()
    first, second = sorted(Path(log.folder).glob("*.seg"))
    assert set(read_segment(first).payloads) == {b"who", b"a" * 60}
    assert read_segment(second).payloads == (b"who", b"b")


def test_a_site_without_a_disk_is_told(tmp_path: Path) -> None:
    assert log_root(laptop(tmp_path)) == tmp_path / "log"
    bare: Site = laptop(tmp_path).model_copy(update={"home": None})
    with pytest.raises(InputError, match="needs a folder on a local disk"):
        log_root(bare)
