"""Serve a model on this machine, in the foreground: its champion behind one port, followed, restarted, not cut off.

The predictor that served before is kept idle, so that a rollback is answered at once and not after a boot.
"""

import asyncio
import datetime as dt
import errno
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.errors import InputError, KubeloopError
from kubeloop.packaging.manifest import Manifest
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import champion
from kubeloop.registry.versions import search
from kubeloop.serving import process, state
from kubeloop.serving.companions import Companions
from kubeloop.serving.curl import ask_command, label_command
from kubeloop.serving.relay import Relay, Target
from kubeloop.serving.state import Running, running
from kubeloop.serving.trial import replay
from kubeloop.site import warm
from kubeloop.site.model import Site
from kubeloop.site.processes import end_orphans
from kubeloop.store.engine import open_engine

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Running", "running", "serve"]

_TICK_S = 0.1
_POLL_S = 0.5
_DRAIN_S = 30.0
_LEAVE_S = 5.0
_STABLE_S = 60.0
_MAX_BACKOFF_S = 30.0
_BACKLOG = 1024


def serve(
    site: Site, name: str, port: int, say: Callable[[str], None], follow: bool = True, monitor: bool = False
) -> None:
    """Serve the champion of a model until SIGINT or SIGTERM; call it in the main thread.

    Args:
        site: Whose champion; it must have a home.
        name: The model.
        port: Public port on 127.0.0.1; 0: a free one.
        say: Takes each line for the person at the terminal.
        follow: Whether a new champion takes over while it runs.
        monitor: Whether it is watched: it logs what it answers, a sink takes labels, detectors judge windows.

    Raises:
        InputError: The model or a champion does not exist, it is served already, or the port is in use.
        PermanentError: The predictor does not come up, or does not answer as when it was judged.
    """
    home = site.home
    if home is None:
        raise InputError("serving on this machine needs a state folder, this Site has none", "set KUBELOOP_HOME")
    end_orphans(home)
    process.prepare()
    engine = open_engine(site)
    try:
        digest = _champion(engine, site.namespace, name)
        _not_twice(home, name)
        with _bound(port, name) as listener:
            watching = Companions(site, home, name, say) if monitor else None
            asyncio.run(_Supervisor(site, home, engine, name, say, listener, watching).run(digest, follow))
    finally:
        engine.dispose()


def _champion(engine: "sa.Engine", namespace: str, name: str) -> str:
    row = champion(engine, namespace, name)
    if row is not None:
        return row.digest
    known = sorted({version.name for version in search(engine, namespace)})
    if name in known:
        raise InputError(f"{name!r} has versions but no champion yet", "run its pipeline until a version is deployed")
    raise InputError(
        f"no model {name!r} was ever registered; registered are: {', '.join(known) or 'none'}",
        "give one of these names" if known else "train one first: kubeloop run loop.yaml",
        known=known,
    )


def _not_twice(home: Path, name: str) -> None:
    for entry in running(home):
        if entry.name == name:
            raise InputError(
                f"{name!r} is served already, at {entry.url} by process {entry.pid}",
                "use that one, which follows the champion, or end it first",
                pid=entry.pid,
            )


def _bound(port: int, name: str) -> socket.socket:
    listener = socket.socket()
    # Without it a port that was just in use is refused for a minute.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((process.HOST, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise InputError(
                f"port {port} on {process.HOST} is in use",
                f"give another one (`kubeloop serve {name} --port 0` takes a free one), or end what listens there",
                port=port,
            ) from None
        if number == errno.EACCES:
            raise InputError(
                f"port {port} may not be used by this account", "use a port above 1023", port=port
            ) from None
        raise InputError(f"{port} is no port that can be listened on: {error}", "use 0 to 65535", port=port) from None
    return listener


@dataclass(frozen=True)
class _Standby:
    """The predictor that served before: ready, and asked nothing."""

    digest: str
    predictor: process.Predictor
    target: Target


class _Supervisor:
    """One predictor that serves, one that served before, perhaps another that comes up, perhaps others that drain."""

    def __init__(
        self,
        site: Site,
        home: Path,
        engine: "sa.Engine",
        name: str,
        say: Callable[[str], None],
        listener: socket.socket,
        companions: Companions | None,
    ) -> None:
        self._site = site
        self._home = home
        self._engine = engine
        self._name = name
        self._say = say
        self._listener = listener
        self._companions = companions
        self._port = int(listener.getsockname()[1])
        self._relay = Relay()
        self._stop = asyncio.Event()
        self._current: process.Predictor | None = None
        self._standby: _Standby | None = None
        self._digest = ""
        self._since = 0.0
        self._started: list[process.Predictor] = []
        self._draining: set[asyncio.Task[None]] = set()
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._silent = False

    async def run(self, digest: str, follow: bool) -> None:
        """Serve until a signal."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        server: asyncio.Server | None = None
        try:
            self._say(f"{self._name}: starting {digest[7:19]}")
            if self._companions is not None:
                self._companions.start(digest)
            manifest = await self._replace(digest)
            if manifest is None:
                return
            # Until here callers wait in the backlog.
            server = await asyncio.start_server(self._relay.handle, sock=self._listener)
            self._say(f"{self._name}: {digest[7:19]} serves at http://{process.HOST}:{self._port} (Ctrl-C ends it)")
            if self._companions is not None:
                self._say(f"{self._name}: watched, see {self._companions.pages}")
            self._say(ask_command(self._port, self._name, manifest))
            if self._companions is not None:
                self._say(f"{self._name}: what came true is told like this, by the X-Request-Id of its answer:")
                self._say(label_command(self._companions.sink, self._site.namespace, self._name, manifest))
            await self._watch(follow)
            self._say(f"{self._name}: ending")
        finally:
            await self._end(server)

    async def _watch(self, follow: bool) -> None:
        clock = asyncio.get_running_loop().time
        next_poll = clock()
        wanted = self._digest
        while not await self._stopped(_TICK_S):
            if self._companions is not None:
                self._companions.tend()
            if follow and clock() >= next_poll:
                wanted = await self._wanted()
                next_poll = clock() + _POLL_S
            dead = self._seen_dead()
            if not dead and wanted == self._digest:
                await self._grant()
                continue
            for digest in dict.fromkeys([wanted, self._digest] if dead else [wanted]):
                if clock() >= self._not_before.get(digest, 0.0) and await self._try(digest):
                    break

    async def _stopped(self, within_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), within_s)
        except TimeoutError:
            return False
        return True

    async def _wanted(self) -> str:
        """The champion; the present one while the registry does not answer."""
        try:
            row = await asyncio.to_thread(champion, self._engine, self._site.namespace, self._name)
        except KubeloopError as error:
            if not self._silent:
                self._say(f"{self._name}: the registry does not answer, going on with {self._digest[7:19]}: {error}")
            self._silent = True
            return self._digest
        self._silent = False
        return self._digest if row is None else row.digest

    def _seen_dead(self) -> bool:
        """Whether nothing serves; says so once."""
        if self._current is None:
            return True
        if self._current.process.poll() is None:
            return False
        log = process.last_lines(self._current.log, 5)
        self._say(f"{self._name}: the predictor died ({self._current.ending()}), starting it again\n{log}")
        if asyncio.get_running_loop().time() - self._since > _STABLE_S:
            self._failures[self._digest] = 0
        else:
            self._postpone(self._digest, free=1)
        self._started.remove(self._current)
        self._current = self._relay.target = None
        return True

    async def _try(self, digest: str) -> bool:
        try:
            manifest = await self._replace(digest)
        except KubeloopError as error:
            if not self._failures.get(digest):
                self._say(f"{self._name}: {digest[7:19]} does not come up, trying again: {error}")
            self._postpone(digest)
            return False
        if manifest is not None:
            self._say(f"{self._name}: {digest[7:19]} serves now")
        return True

    def _postpone(self, digest: str, free: int = 0) -> None:
        """Wait longer each time before the next start of a package; the first `free` restarts are at once."""
        count = self._failures[digest] = self._failures.get(digest, 0) + 1
        if count > free:
            wait_s = min(_MAX_BACKOFF_S, 0.5 * 2.0 ** min(count - free - 1, 10))
            self._not_before[digest] = asyncio.get_running_loop().time() + wait_s

    async def _grant(self) -> None:
        """Bring up beside the champion what a rollback or a promotion is about to make champion."""
        digest = state.asked(self._home, self._name)
        if not digest:
            return
        try:
            if digest != self._digest and (made := await self._bring_up(digest)) is not None:
                self._keep(_Standby(digest, made[0], Target(made[0].port)))
                self._tell()
        except KubeloopError as error:
            self._say(f"{self._name}: {digest[7:19]} does not come up beside {self._digest[7:19]}: {error}")
        state.answered(self._home, self._name)

    async def _replace(self, digest: str) -> Manifest | None:
        """Let a package take over; None when a signal came first.

        Raises:
            KubeloopError: It does not come up or does not answer as judged; what served still does.
        """
        made = await self._bring_up(digest)
        if made is None:
            return None
        self._take_over(made[0], digest)
        return made[1]

    async def _bring_up(self, digest: str) -> tuple[process.Predictor, Manifest] | None:
        """A proven predictor of a package; None when a signal came first.

        Raises:
            KubeloopError: It does not come up or does not answer as judged.
        """
        folder = await asyncio.to_thread(fetch, self._site, digest)
        package = await asyncio.to_thread(read_package, folder, digest, self._site)
        fresh = self._waiting(digest) or await self._started_anew(folder, digest)
        if fresh is None:
            return None
        proving = asyncio.create_task(asyncio.to_thread(_prove, fresh, self._name, package.manifest))
        if not await self._before_the_stop(proving) or proving.exception() is not None:
            fresh.process.kill()
            fresh.process.wait()
            self._started.remove(fresh)
            await asyncio.gather(proving, return_exceptions=True)
            if self._stop.is_set():
                return None
            proving.result()
        return fresh, package.manifest

    async def _started_anew(self, folder: Path, digest: str) -> process.Predictor | None:
        """A fresh predictor; None when a signal came while what it needs was still imported."""
        log = state.log_file(self._home, self._name, digest)
        logging = () if self._companions is None else self._companions.logging
        start = partial(process.start, folder, self._name, log, self._home, logging=logging)
        starting = asyncio.create_task(asyncio.to_thread(start))
        if not await self._before_the_stop(starting):
            await asyncio.to_thread(warm.close)
            await asyncio.gather(starting, return_exceptions=True)
            return None
        self._started.append(starting.result())
        return starting.result()

    async def _before_the_stop(self, work: asyncio.Task[Any]) -> bool:
        """Wait for some work; False when a signal came first."""
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return work.done()

    def _waiting(self, digest: str) -> process.Predictor | None:
        """The predictor that served this package before, while it lives."""
        if self._standby is None or self._standby.digest != digest:
            return None
        found, self._standby = self._standby.predictor, None
        if found.process.poll() is None:
            return found
        self._started.remove(found)
        return None

    def _take_over(self, fresh: process.Predictor, digest: str) -> None:
        old, target, before = self._current, self._relay.target, self._digest
        self._current, self._digest = fresh, digest
        self._since = asyncio.get_running_loop().time()
        self._relay.target = Target(fresh.port)
        # What is in flight on the old one ends there, while it waits.
        if old is not None and target is not None:
            self._keep(_Standby(before, old, target))
        self._tell()

    def _tell(self) -> None:
        standby = self._standby.digest if self._standby else ""
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        watched = ("", "") if self._companions is None else (self._companions.sink, self._companions.pages)
        state.write(self._home, self._name, self._port, self._digest, since, standby, watched)

    def _keep(self, standby: "_Standby") -> None:
        """Let a predictor wait; the one that waited until now is not needed any more."""
        retired, self._standby = self._standby, standby
        if retired is not None:
            task = asyncio.create_task(self._retire(retired))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def _retire(self, retired: "_Standby") -> None:
        await self._relay.idle(retired.target, _DRAIN_S)
        await asyncio.to_thread(process.stop, retired.predictor)
        self._started.remove(retired.predictor)

    async def _end(self, server: asyncio.Server | None) -> None:
        """Finish what is in flight, then end every process."""
        state.remove(self._home, self._name)
        if server is not None:
            server.close()
        if self._relay.target is not None:
            await self._relay.idle(self._relay.target, _LEAVE_S)
        await self._relay.close()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*(asyncio.to_thread(process.stop, started, _LEAVE_S) for started in self._started))
        if self._companions is not None:
            await asyncio.to_thread(self._companions.stop)


def _prove(predictor: process.Predictor, name: str, manifest: Manifest) -> None:
    process.wait_ready(predictor)
    replay(predictor.port, name, manifest)
