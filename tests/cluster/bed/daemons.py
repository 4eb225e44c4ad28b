"""The bed's processes: started in its network namespace, known by pid and start time, ended one by one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil

from kubeloop.site.processes import identity, is_alive
from tests.cluster.bed import layout

PATH = f"{layout.BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_END_S = 30.0


def inside(*command: str) -> list[str]:
    """A command as it runs in the bed's network namespace."""
    return ["nsenter", f"--net=/run/netns/{layout.NETNS}", "--", *command]


def run(*command: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a command and give what it printed.

    Raises:
        RuntimeError: It failed; with what it said.
    """
    environment = {**os.environ, "PATH": f"{PATH}:{os.environ.get('PATH', '')}", "KUBECONFIG": str(layout.KUBECONFIG)}
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def start(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Start a daemon unless it runs; its output goes to its log."""
    if alive(name):
        return
    with (layout.LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            inside(*command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"PATH": PATH, "HOME": "/root", **(environment or {})},
        )
    (layout.PIDS / name).write_text(identity(process.pid), encoding="ascii")


def alive(name: str) -> bool:
    """Whether a daemon of ours runs."""
    file = layout.PIDS / name
    return file.is_file() and is_alive(file.read_text(encoding="ascii"))


def stop(name: str) -> None:
    """End a daemon and wait until it is gone."""
    file = layout.PIDS / name
    if alive(name):
        end_process(int(file.read_text(encoding="ascii").partition(":")[0]))
    file.unlink(missing_ok=True)


def end_process(pid: int) -> None:
    """SIGTERM, and SIGKILL for what is still there after a while."""
    try:
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        process.wait(_END_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_END_S)
    except psutil.NoSuchProcess:
        return


def wait_for(what: str, condition: Callable[[], object], deadline_s: float = 90.0) -> None:
    """Wait until a condition holds; one that raises does not hold yet.

    Raises:
        TimeoutError: It does not in time; names the log folder.
    """
    end = time.monotonic() + deadline_s
    last = ""
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (RuntimeError, OSError) as error:
            last = str(error)
        time.sleep(0.25)
    raise TimeoutError(f"{what} was expected within {deadline_s:.0f} s; {last or 'see'} {layout.LOGS}")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long a part took, when it has ended well."""
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"bed: {text}\n")
