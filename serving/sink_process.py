"""The process of the sink.

python -m kubeloop.serving.sink_process --services FILE [--log DIR] [--host HOST] [--port N | --fd N]

FILE is JSON: {"services": [...]} of `kubeloop.serving.sink_intake.Service`. Segments lie below DIR, and are moved into
the Site's SQL store once a second by a thread; where the database does not answer they wait on disk.
"""

import argparse
import asyncio
import datetime as dt
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from kubeloop.errors import InputError, KubeloopError
from kubeloop.monitoring.log.commits import CommitLog
from kubeloop.monitoring.log.moving import Moved
from kubeloop.monitoring.log.privacy import SECRET
from kubeloop.monitoring.log.segments import SegmentFiles, log_root
from kubeloop.serving.sink import WAITING, Sink
from kubeloop.serving.sink_intake import Intake, Service
from kubeloop.serving.sink_metrics import exposition
from kubeloop.site import Site, load_site
from kubeloop.site.secrets import read_secret

MOVE_S = 1.0
"""Seconds between two looks for sealed segments."""

_BACKLOG = 2048


class Services(BaseModel):
    """The document of `--services`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: tuple[Service, ...]


def read_services(path: Path) -> tuple[Service, ...]:
    """The services of a file.

    Raises:
        InputError: It cannot be read, or is none.
    """
    try:
        return Services.model_validate_json(path.read_bytes()).services
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "name a file of services") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: {place}: {first['msg']}", "mend it; kubeloop log services writes such a file"
        ) from None


def key_of(site: Site, services: Sequence[Service]) -> bytes | None:
    """The key of hashes, where a service hashes something.

    Raises:
        InputError: It is needed and is nowhere.
    """
    models = [model for service in services for model in service.models]
    if not any(model.keys == "hashed" or any(c.kept == "hashed" for c in model.columns) for model in models):
        return None
    return read_secret(SECRET, site).reveal().encode("utf-8")


def collect_seldom() -> None:
    """Look for cycles less often: an event leaves a dozen objects and no cycle, and looking is a tenth of its cost."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class Mover(threading.Thread):
    """Moves segments while the sink runs.

    Args:
        site: Whose SQL store.
        root: The log's root.

    Attributes:
        moved: What it has done.
        failures: Tries that failed, such as those while the database was away.
    """

    def __init__(self, site: Site, root: Path) -> None:
        super().__init__(name="inference-log-mover", daemon=True)
        self._site = site
        self._root = root
        self._ending = threading.Event()
        self.moved = Moved()
        self.failures = 0

    def run(self) -> None:
        """Move until told to end."""
        while not self._ending.wait(MOVE_S):
            self.once()

    def once(self) -> None:
        """Move what is sealed; a failure is counted, and tried again next time."""
        import sqlalchemy as sa

        from kubeloop.monitoring.log.moving import move_all
        from kubeloop.store import lock, open_engine

        try:
            with lock(self._site, "log-mover", 0, "moving the inference log"):
                engine = open_engine(self._site)
                try:
                    found = move_all(engine, self._root, dt.datetime.now(dt.UTC))
                finally:
                    engine.dispose()
            self.moved.add(found)
        except (KubeloopError, OSError, sa.exc.SQLAlchemyError) as error:
            if self.failures == 0:
                sys.stderr.write(f"warning: the inference log could not be moved, it waits on disk: {error}\n")
            self.failures += 1

    def end(self) -> None:
        """End, and move what is left."""
        self._ending.set()
        self.join()
        self.once()


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kubeloop.serving.sink_process", description=__doc__)
    parser.add_argument("--services", type=Path, required=True, help="JSON file of the services that are kept")
    parser.add_argument("--log", type=Path, default=None, help="folder of the segments; <home>/log by default")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a pod's address is not known
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--fd", type=int, default=None, help="listening socket inherited from the parent")
    parser.add_argument("--waiting", type=int, default=WAITING, help="requests that wait for the disk at once")
    parser.add_argument("--keep-segments", action="store_true", help="leave the moving to somebody else")
    chosen = parser.parse_args(arguments)
    try:
        site = load_site()
        services = read_services(chosen.services)
        asyncio.run(_serve(chosen, site, services, key_of(site, services)))
    except KubeloopError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


async def _serve(chosen: argparse.Namespace, site: Site, services: Sequence[Service], secret: bytes | None) -> None:
    import uvicorn

    root = chosen.log or log_root(site)
    log = CommitLog(SegmentFiles(root, "sink"))
    intake = Intake(log, services, secret, lambda: time.time_ns() // 1000)
    mover = Mover(site, root)

    def metrics() -> bytes:
        return exposition(
            intake.counts,
            {
                "kubeloop_log_waiting_bytes": ("Bytes that wait for the disk.", log.waiting),
                "kubeloop_log_syncs": ("Syncs since the start.", log.syncs),
                "kubeloop_log_moved_records": ("Records moved to SQL since the start.", mover.moved.records),
                "kubeloop_log_repeated_events": ("Events with an id that the log had, left out.", mover.moved.again),
                "kubeloop_log_damaged_segments": ("Segments with an altered record.", mover.moved.damaged),
                "kubeloop_log_move_failures": ("Failed tries to move.", mover.failures),
            },
        )

    collect_seldom()
    config = uvicorn.Config(
        Sink(intake, metrics, chosen.waiting),
        host=chosen.host,
        port=chosen.port,
        access_log=False,
        log_level="warning",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=20,
        server_header=False,
        date_header=False,
    )
    listener = None if chosen.fd is None else [socket.socket(fileno=chosen.fd)]
    if not chosen.keep_segments:
        mover.start()
    # uvicorn raises the signal that ended it once more when it has ended; the log must be sealed then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        await uvicorn.Server(config).serve(sockets=listener)
    finally:
        log.close()
        if not chosen.keep_segments:
            mover.end()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
