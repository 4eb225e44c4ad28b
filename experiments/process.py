"""One trial as a process of this machine: its own process group, log, limits and readings."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import psutil

from kubeloop.experiments.collecting import LineReader, Readings
from kubeloop.experiments.search import Collector, MedianStop
from kubeloop.experiments.template import Program
from kubeloop.site.processes import die_with_parent

MARK = "KUBELOOP_TRIAL"
"""Environment variable by which the processes that a trial started can be told."""

MOST_OUTPUT = 64 * 1024 * 1024
"""Bytes that a trial may write to its standard output and error; what has written more has run away."""

_LONGEST_LINE = 64 * 1024
_CHUNK = 256 * 1024
_GRACE_S = 2.0
_SIGNALS = {
    signal.SIGKILL: "killed from outside, or out of memory",
    signal.SIGSEGV: "it read memory that is not its own",
}


@dataclass(frozen=True)
class Surroundings:
    """Where a trial runs.

    Attributes:
        folder: The trial's own; gets `log.txt`, and the metrics file where the program writes to the collector's path.
        workdir: Where it runs, unless the manifest's working directory is there.
        environment: Of the process; the manifest's variables come on top.
        mark: Unlike that of every other trial of this machine.
    """

    folder: Path
    workdir: Path
    environment: Mapping[str, str]
    mark: str


@dataclass(frozen=True)
class Limits:
    """When a trial is ended.

    Attributes:
        seconds: After so long, unless its manifest has fewer; None: no limit.
        early: Early stopping, if any.
        rule: Its bound for this trial: worse than this value at the report of `early.start_step` ends it.
    """

    seconds: float | None = None
    early: MedianStop | None = None
    rule: float | None = None


@dataclass
class Running:
    """A trial that runs.

    Attributes:
        number: Of the trial.
        process: Its leader, in a session of its own.
        log: Where its output goes.
        readings: What it reported.
        reader: Reads lines into the readings.
        began: Monotonic clock, seconds.
        limits: When it is ended.
        before: Processes that were there when it began.
        ended_for: Why we ended it ourselves: (status word, reason).
    """

    number: int
    process: "subprocess.Popen[bytes]"
    mark: str
    log: IO[bytes]
    readings: Readings
    reader: LineReader
    collector: Collector
    file: Path | None
    began: float
    limits: Limits
    before: frozenset[int] = frozenset()
    ended_for: tuple[str, str] | None = None
    written: int = 0
    _tail: str = ""
    _read_to: int = 0
    _checked: bool = field(default=False)

    @property
    def deadline(self) -> float:
        """When its time is up, on the monotonic clock."""
        seconds = self.limits.seconds
        return float("inf") if seconds is None or self.ended_for else self.began + seconds

    def output(self) -> bool:
        """Take in what it has printed; False when it has closed its output."""
        assert self.process.stdout is not None
        with suppress(BlockingIOError):
            chunk = os.read(self.process.stdout.fileno(), _CHUNK)
            if not chunk:
                return False
            self.written += len(chunk)
            if self.written > MOST_OUTPUT:
                self.end("Failed", f"it wrote more than {MOST_OUTPUT // 1024**2} MiB of output")
                return True
            self.log.write(chunk)
            if self.collector.kind == "StdOut":
                self._feed(chunk)
        return True

    def look_at_file(self, *, last: bool = False) -> None:
        """Take in what was added to the metrics file."""
        if self.file is None or not self.file.is_file():
            return
        with self.file.open("rb") as stream:
            stream.seek(self._read_to)
            while chunk := stream.read(_CHUNK):
                self._read_to += len(chunk)
                self._feed(chunk)
        if last:
            self._feed(b"\n")

    def _feed(self, chunk: bytes) -> None:
        text = self._tail + chunk.decode("utf-8", errors="replace")
        if not self.reader.speaks_of_metrics(text):
            self._tail = text[text.rfind("\n") + 1 :][-_LONGEST_LINE:]
            return
        lines = text.split("\n")
        self._tail = lines.pop()[-_LONGEST_LINE:]
        self.reader.read(line[:_LONGEST_LINE].rstrip("\r") for line in lines)
        self._stop_early()

    def flush(self) -> None:
        """Read the last line, which may have no end."""
        if self._tail:
            self._feed(b"\n")

    def _stop_early(self) -> None:
        """Katib's rule: looked at once, at the report of number `start_step`, with the trial's best value so far."""
        rule, early = self.limits.rule, self.limits.early
        if rule is None or early is None or self._checked:
            return
        objective = self.readings.objective
        seen = self.readings.values.get(objective.metric, [])
        if len(seen) < early.start_step:
            return
        self._checked = True
        best = (max if objective.direction == "maximize" else min)(seen[: early.start_step])
        if objective.better(rule, best):
            reason = f"{objective.metric} {best:.6g} was worse than {rule:.6g}, the mean of earlier trials"
            self.end("EarlyStopped", f"{reason}, at report {early.start_step}")

    def end(self, status: str, reason: str) -> None:
        """End it, with everything in its process group."""
        self.ended_for = self.ended_for or (status, reason)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> tuple[str, str]:
        """Reap it after its leader has ended, and end what it left behind.

        Returns:
            Status word and reason: `Succeeded` when nothing but the readings can speak against it.
        """
        code = self.process.wait()
        left = _left_behind(self.process.pid, self.mark, self.before)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=_GRACE_S)
        while self.output() and self.written <= MOST_OUTPUT and self._more():
            pass
        self.flush()
        self.look_at_file(last=True)
        self.log.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        if self.ended_for:
            return self.ended_for
        if code < 0:
            word = signal.Signals(-code).name
            more = f" ({_SIGNALS[signal.Signals(-code)]})" if -code in _SIGNALS else ""
            return "Failed", f"it died by {word}{more}"
        if code:
            return "Failed", f"it ended with code {code}; {_last_words(Path(self.log.name))}"
        if left:
            return "Failed", f"it left {len(left)} of its processes running behind; they were ended"
        return "Succeeded", ""

    def _more(self) -> bool:
        import select

        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], 0)[0])


def start(
    number: int,
    program: Program,
    readings: Readings,
    collector: Collector,
    around: Surroundings,
    limits: Limits,
) -> Running:
    """Start a trial.

    Args:
        number: Of the trial.
        program: What to run.
        readings: Where its metrics go.
        collector: How they are read.
        around: Where it runs.
        limits: When it is ended.

    Raises:
        OSError: The program cannot be started.
    """
    folder = around.folder
    folder.mkdir(parents=True, exist_ok=True)
    argv, variables, file = list(program.argv), dict(program.variables), None
    if collector.kind == "File" and collector.path:
        # Every trial has a file of its own, as every pod has.
        file = folder / Path(collector.path).name
        file.unlink(missing_ok=True)
        argv = [word.replace(collector.path, str(file)) for word in argv]
        variables = {name: value.replace(collector.path, str(file)) for name, value in variables.items()}
        variables.setdefault("KUBELOOP_METRICS_FILE", str(file))
    here = Path(program.folder) if program.folder and Path(program.folder).is_dir() else around.workdir
    log = (folder / "log.txt").open("wb")
    before = _pids()
    try:
        process = subprocess.Popen(
            argv,
            cwd=here,
            env={**around.environment, **variables, MARK: around.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    except OSError:
        log.close()
        raise
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seconds = [each for each in (limits.seconds, program.limit_s) if each is not None]
    return Running(
        number=number,
        process=process,
        mark=around.mark,
        log=log,
        readings=readings,
        reader=LineReader(collector, readings),
        collector=collector,
        file=file,
        began=time.monotonic(),
        limits=replace(limits, seconds=min(seconds, default=None)),
        before=before,
    )


def _pids() -> frozenset[int]:
    return frozenset(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - a path each costs


def _left_behind(leader: int, mark: str, before: frozenset[int]) -> list[psutil.Process]:
    """What a trial started and what still runs: in its session, or out of it with its mark in the environment."""
    found = []
    for pid in _pids() - before - {leader}:
        try:
            process = psutil.Process(pid)
            theirs = os.getsid(pid) == leader or process.environ().get(MARK) == mark
            if theirs and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _last_words(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - 2000, 0))
        lines = [line.strip() for line in stream.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    return f"its last line: {lines[-1][:160]}" if lines else "it printed nothing"
