"""The kernel's own word: the sync ends before the acknowledgement leaves."""

import re
import shutil
from pathlib import Path

import pytest

from kubeloop.monitoring.log.models import LoggedModel
from tests.monitoring.log.sinks import Client, SinkProcess

EVENT = "the traced event"
CALLS = "trace=write,writev,pwrite64,send,sendto,sendmsg,fdatasync,fsync"


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="NOT SHOWN: strace is not installed (apt-get install strace)"
)
def test_the_sync_ends_before_the_acknowledgement(tmp_path: Path, model: LoggedModel) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-s", "4096", "-e", CALLS, "-o", str(trace)]
    sink = SinkProcess(tmp_path, [model], ["--keep-segments"], strace).start()
    try:
        sink.ready()
        with Client(sink.port) as client:
            assert client.event({"instances": [[1, "1"]]}, EVENT) == (202, "")
        assert sink.stop() == 0
    finally:
        sink.close()
    calls = trace.read_text(errors="replace").splitlines()
    (written,) = (n for n, call in enumerate(calls) if EVENT in call and re.search(r"write\(\d+<.*\.open>", call))
    synced = next(
        n for n in range(written, len(calls)) if re.search(r"fdatasync(\(\d+<.*\.open>\)| resumed>\)) += 0", calls[n])
    )
    (told,) = (n for n, call in enumerate(calls) if "HTTP/1.1 202" in call)
    assert written < synced < told
