"""A sink on a disk whose sync takes its time, so that one machine can offer many times what it can take.

python slow_sink.py FD FOLDER SYNC_S WAITING
"""

import os
import socket
import sys
import time
from pathlib import Path

import uvicorn

from kubeloop.monitoring.log.commits import CommitLog
from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.monitoring.log.segments import SegmentFiles
from kubeloop.serving.sink import Sink
from kubeloop.serving.sink_intake import Intake, Service
from kubeloop.serving.sink_metrics import exposition

MODEL = LoggedModel(
    version="7",
    task="binary",
    columns=(LoggedColumn(name="age", kind="number"), LoggedColumn(name="sex", kind="category")),
    classes=(False, True),
)


def main(descriptor: int, folder: Path, sync_s: float, waiting: int) -> None:
    """Serve until a signal."""

    def sync(file: int) -> None:
        time.sleep(sync_s)  # the disk, not the test, is slow
        os.fdatasync(file)

    log = CommitLog(SegmentFiles(folder, "slow"), sync=sync)
    services = [Service(namespace="default", service="heart", models=(MODEL,))]
    intake = Intake(log, services, None, lambda: time.time_ns() // 1000)
    sink = Sink(intake, lambda: exposition(intake.counts, {}), waiting)
    config = uvicorn.Config(sink, access_log=False, log_level="warning", backlog=2048)
    try:
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
    finally:
        log.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
