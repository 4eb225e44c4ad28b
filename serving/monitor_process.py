"""The process of the detectors: reads the inference log of a Site, judges windows, keeps and tells what it finds.

python -m kubeloop.serving.monitor_process [SERVICE ...] [--packages DIR] [--tell URL] [--host HOST] [--port N | --fd N]

Without a SERVICE all of the Site's namespace are watched. A version that is a package's digest is held against that
package's own reference. It holds one open window of each stream and no more: what it has not read yet waits in the log.
"""

import argparse
import asyncio
import datetime as dt
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.errors import InputError, KubeloopError
from kubeloop.monitoring.log.windows import WindowKey
from kubeloop.monitoring.watching.watcher import SETTLE_S, Watched, Watcher
from kubeloop.serving.monitor import Watch, application
from kubeloop.serving.monitor_outbox import Outbox, checked_url
from kubeloop.site import Site, load_site

if TYPE_CHECKING:
    import sqlalchemy as sa

LOOK_S = 1.0
"""Seconds between two looks at the log."""

_LONGEST_S = 60.0


def watched_of(site: Site, services: frozenset[str], key: WindowKey, packages: Path | None = None) -> Watched | None:
    """What the windows of a version are held against; None: its service is not to be watched.

    Args:
        site: Where packages lie.
        services: Names; empty: all.
        key: Whose windows.
        packages: A folder with packages by digest, to be used in the place of the store.

    Raises:
        InputError: Its version is no package's digest, the package has no reference, or is not in that folder.
        IntegrityError: The package is not what its digest says.
        TransientError: The store of packages does not answer.
    """
    from kubeloop.contract.monitoring import Labels
    from kubeloop.monitoring.reference.packaged import reference_of
    from kubeloop.monitoring.windows.judge import Judge
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch

    if services and key.service not in services:
        return None
    digest = key.version or ""
    if not digest.startswith("sha256-"):
        raise InputError(
            f"a package's digest was expected as version of {key.service}, its events say {digest!r}",
            "let the InferenceService's annotation model-version be the digest",
            service=key.service,
        )
    folder = fetch(site, digest) if packages is None else packages / digest
    if not folder.is_dir():
        raise InputError(
            f"package {digest[7:19]} of {key.service} was expected in {packages}, and is not there",
            "attach the monitor to that version: its package is fetched when the service starts",
            service=key.service,
        )
    package = read_package(folder, digest, site)
    words = (package.manifest.contract.get("monitoring") or {}).get("labels") or {}
    return Watched(Judge(reference_of(package)), Labels.model_validate(words))


class Looker(threading.Thread):
    """Looks at the log until it is told to end.

    Args:
        watcher: Judges windows.
        outbox: Tells them; None: they are only kept.
        watch: Where it says how it is going.
    """

    def __init__(self, watcher: Watcher, outbox: Outbox | None, watch: Watch) -> None:
        super().__init__(name="watcher", daemon=True)
        self._watcher = watcher
        self._outbox = outbox
        self._watch = watch
        self._ending = threading.Event()
        self._failures = 0
        self._judged = 0
        self._untold = ""

    def run(self) -> None:
        """Look, tell, wait."""
        try:
            while not self._ending.wait(self.pause_s):
                self.once()
        finally:
            self._watch.alive = self._watch.ready = False

    @property
    def pause_s(self) -> float:
        """Seconds to the next look: twice as many after each that failed."""
        return min(_LONGEST_S, LOOK_S * 2.0 ** min(self._failures, 10))

    def once(self) -> None:
        """One look; a failure is said once, counted, and the next look goes on where this one ended."""
        try:
            for window in self._watcher.look(_now(), time.monotonic()):
                self._judged += 1
                self._say(window)
                if self._ending.is_set():
                    break
        except KubeloopError as error:
            if not self._failures:
                _warn(f"the log could not be read, looking again: {error}")
            self._failures += 1
            self._watch.ready, self._watch.trouble = False, error.problem
        else:
            self._failures = 0
            self._watch.ready, self._watch.trouble = True, ""
            self._tell()
        self._report()

    def _say(self, window: dict[str, Any]) -> None:
        told = window["told"]
        if told:
            sys.stdout.write(f"{window['service']} {window['stream']} {window['number']}: {', '.join(told)}\n")
            sys.stdout.flush()

    def _tell(self) -> None:
        if self._outbox is None:
            return
        try:
            trouble = self._outbox.post(_now())
        except KubeloopError as error:
            trouble = error.problem
        if trouble and trouble != self._untold:
            _warn(f"windows wait to be told: {trouble}")
        self._untold = trouble

    def _report(self) -> None:
        watcher, watch = self._watcher, self._watch
        watch.unwatched = dict(watcher.unwatched)
        watch.full_rows = {name: stream.full for name, stream in watcher.streams.items()}
        watch.open_rows = {name: stream.rows for name, stream in watcher.streams.items()}
        watch.plain = {
            "kubeloop_watch_look_failures": ("Looks in a row that failed.", self._failures),
            "kubeloop_watch_judged": ("Windows judged since the start.", self._judged),
            "kubeloop_watch_unwatched": ("Versions in the log that cannot be watched.", len(watch.unwatched)),
        }
        if self._outbox is not None:
            watch.plain["kubeloop_watch_told_events"] = ("CloudEvents that were taken.", self._outbox.told)
            watch.plain["kubeloop_watch_tell_failures"] = ("CloudEvents that were not taken.", self._outbox.failures)

    def end(self) -> None:
        """End after the window that is being judged."""
        self._ending.set()
        self.join()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _warn(words: str) -> None:
    sys.stderr.write(f"warning: {words}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Watch until a signal ends it; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kubeloop.serving.monitor_process",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("services", metavar="SERVICE", nargs="*", help="InferenceServices to watch; all by default")
    parser.add_argument("--packages", type=Path, default=None, help="folder of packages; the Site's store by default")
    parser.add_argument("--tell", metavar="URL", default=None, help="post each window there, as a CloudEvent")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds that events may come out of order")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a pod's address is not known
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--fd", type=int, default=None, help="listening socket inherited from the parent")
    chosen = parser.parse_args(arguments)
    try:
        url = None if chosen.tell is None else checked_url(chosen.tell)
        site = load_site()
        from kubeloop.store import open_engine

        store = open_engine(site)
        try:
            _watch(chosen, site, store, url)
        finally:
            store.dispose()
    except KubeloopError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _watch(chosen: argparse.Namespace, site: Site, store: "sa.Engine", url: str | None) -> None:
    import signal

    import uvicorn

    services = frozenset(chosen.services)
    watch = Watch(True, False, "no look has ended yet", {}, {}, {}, {})

    def find(key: WindowKey) -> Watched | None:
        return watched_of(site, services, key, chosen.packages)

    watcher = Watcher(store, site.namespace, find, chosen.settle)
    looker = Looker(watcher, None if url is None else Outbox(store, site.namespace, url), watch)
    config = uvicorn.Config(
        application(store, site.namespace, watch),
        host=chosen.host,
        port=chosen.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    listener = None if chosen.fd is None else [socket.socket(fileno=chosen.fd)]
    looker.start()
    # uvicorn raises the signal that ended it once more when it has ended; the look must have ended then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        asyncio.run(uvicorn.Server(config).serve(sockets=listener))
    finally:
        looker.end()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
