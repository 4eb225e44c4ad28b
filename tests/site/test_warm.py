"""Processes forked from a warm server: as if run by `python -m`, and never left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from kubeloop.site import warm, warm_order
from kubeloop.site.processes import OWNER, end_orphans, identity, orphans

LONG_S = 60.0
MODULES = {
    "says": """
        import os, sys
        print(sys.argv[1:], os.getcwd(), os.environ["WORD"], __name__, os.getpgid(0) == os.getpid())
        print("to error", file=sys.stderr)
        sys.exit(7)
    """,
    "breaks": "raise ValueError('on purpose')",
    "waits": "import signal; print('up', flush=True)\nwhile True: signal.pause()",
    "heavy": "import os; open(os.environ['COUNT'], 'a').write('imported ')",
    "needs": "import sys; print('heavy' in sys.modules)\nimport heavy",
    "threaded": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "plain": "import sys; print('threaded' in sys.modules)",
    "nested": """
        import os
        from pathlib import Path
        from kubeloop.site import warm
        child = warm.start("parent", [], environment=os.environ, folder=Path.cwd(), streams=(0, 1, 2))
        child.wait()
        print(os.getppid(), flush=True)
    """,
    "stands": """
        import os, subprocess, sys
        from kubeloop.site import warm, warm_order
        python = [sys.executable, "-I", "-S", warm_order.__file__, os.environ[warm.ADDRESS], "-m"]
        print(os.getpgrp(), flush=True)
        subprocess.run([*python, "group"], check=True)
    """,
    "group": "import os; print(os.getpgrp(), flush=True)",
    "parent": "import os; print(os.getppid(), flush=True)",
    "counts": """
        from threadpoolctl import threadpool_info
        print(sorted({(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()}))
    """,
}
OWNS = """
import os, signal, sys
from pathlib import Path
from kubeloop.site import warm
child = warm.start("waits", [], environment=os.environ, folder=Path.cwd(), streams=(0, 2, 2))  # stdout is the owner's
print(child.pid, flush=True)
signal.pause()
"""


def write(folder: Path) -> None:
    for name, text in MODULES.items():
        lines = text.splitlines()
        own = lines[1:] if not lines[0].strip() else lines
        indent = len(own[0]) - len(own[0].lstrip())
        (folder / f"{name}.py").write_text("\n".join(line[indent:] for line in own) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def modules() -> Iterator[Path]:
    """A folder of modules, and a server of our own that finds them; other tests of this process keep theirs."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        write(Path(name))
        patch.setattr(warm, "_own", None)
        patch.setenv("PYTHONPATH", name)
        patch.setenv("COUNT", str(Path(name) / "count"))
        yield Path(name)
        warm.close()


@pytest.fixture
def run(modules: Path, tmp_path: Path) -> Callable[..., tuple[warm.Forked, Path]]:
    """Starts a module; its handle and the file that takes both of its outputs."""

    def start(module: str, *arguments: str, needed: tuple[str, ...] = ()) -> tuple[warm.Forked, Path]:
        out = tmp_path / f"{module}-{time.monotonic_ns()}"
        with out.open("wb") as stream, Path(os.devnull).open("rb") as nothing:
            child = warm.start(
                module,
                arguments,
                environment={**os.environ, "WORD": "a word"},
                folder=tmp_path,
                streams=(nothing.fileno(), stream.fileno(), stream.fileno()),
                modules=needed,
            )
        return child, out

    return start


def until(what: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG_S
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def left_in(home: Path, *pids: int) -> set[int]:
    """Which of these processes are orphans: others count for any home, too, while they end."""
    return {found.pid for found in orphans(home)} & set(pids)


def test_it_runs_as_python_m_would(run: Any, tmp_path: Path) -> None:
    child, out = run("says", "--flag", "with space")
    assert child.wait(LONG_S) == child.returncode == child.poll() == 7
    assert out.read_text() == f"['--flag', 'with space'] {tmp_path} a word __main__ True\nto error\n"


def test_what_breaks_says_where(run: Any) -> None:
    child, out = run("breaks")
    assert child.wait(LONG_S) == 1
    assert out.read_text().endswith("ValueError: on purpose\n")
    missing, said = run("no_such_module")
    assert missing.wait(LONG_S) == 1
    assert "No module named no_such_module" in said.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it(run: Any, number: signal.Signals) -> None:
    child, out = run("waits")
    until(lambda: "up" in out.read_text())
    assert child.poll() is None
    assert psutil.Process(child.pid).name() == "waits"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.0)
    child.send_signal(number)
    assert child.wait(LONG_S) == -number
    child.kill()  # it has ended: nobody else is hit


def test_what_is_needed_is_imported_once(run: Any, modules: Path) -> None:
    for _ in range(2):
        child, out = run("needs", needed=("heavy", "no_such_module"))
        assert child.wait(LONG_S) == 0
        assert out.read_text() == "True\n"
    assert (modules / "count").read_text() == "imported "


def test_what_will_be_needed_is_imported_meanwhile(run: Any, modules: Path) -> None:
    (modules / "later.py").write_text(f"open({str(modules / 'seen')!r}, 'w').write('yes')", encoding="utf-8")
    warm.prepare(["no_such_module", "later"])
    until((modules / "seen").exists)


def test_it_computes_with_the_threads_of_its_environment_and_ends_without_a_word(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for threads in ("3", "1"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        child, out = run("counts", needed=("duckdb", "sklearn.ensemble"))
        assert child.wait(LONG_S) == 0
        assert out.read_text() == f"[('blas', {threads}), ('openmp', {threads})]\n"


def test_dropping_it_ends_it(run: Any) -> None:
    child, out = run("waits")
    until(lambda: "up" in out.read_text())
    pid = child.pid
    del child
    until(lambda: gone(pid))


def test_what_was_forked_asks_the_same_server(run: Any) -> None:
    child, out = run("nested")
    assert child.wait(LONG_S) == 0
    grandchild, own = out.read_text().split()
    assert grandchild == own


def test_a_script_may_stand_in_for_python(run: Any, modules: Path, tmp_path: Path) -> None:
    run("parent")[0].wait(LONG_S)
    address = warm._own.address
    python = [sys.executable, "-I", "-S", warm_order.__file__, address, "-m"]
    said = subprocess.run(
        [*python, "says", "x"], cwd=tmp_path, env={"WORD": "other"}, capture_output=True, text=True, check=False
    )
    assert said.returncode == 7
    assert said.stdout == f"['x'] {tmp_path} other __main__ True\n"
    assert said.stderr == "to error\n"


def test_it_enters_the_group_of_its_script_so_that_one_signal_ends_both(run: Any) -> None:
    child, out = run("stands")
    assert child.wait(LONG_S) == 0
    assert out.read_text().split() == [str(child.pid)] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_does_not_outlive_its_script(run: Any, modules: Path, number: signal.Signals) -> None:
    run("parent")[0].wait(LONG_S)
    python = [sys.executable, "-I", "-S", warm_order.__file__, warm._own.address, "-m", "waits"]
    script = subprocess.Popen(python, stdout=subprocess.PIPE)
    script.stdout.readline()
    (child,) = [found for found in psutil.Process(warm._own.process.pid).children() if found.name() == "waits"]
    script.send_signal(number)
    assert script.wait(LONG_S) == -number
    until(lambda: gone(child.pid))
    script.stdout.close()


def test_half_an_order_is_none(run: Any) -> None:
    run("says")[0].wait(LONG_S)
    for text in (b"", b"x", warm_order.HEADER.pack(2**60) + b"{", warm_order.HEADER.pack(2) + b"[]"):
        with warm_order.connect(warm._own.address) as asker:
            asker.sendall(text)
    child, _ = run("says")
    assert child.wait(LONG_S) == 7


def test_a_library_that_starts_a_thread_makes_it_cold_and_right(run: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm, "_own", None)
        child, out = run("plain", needed=("threaded",))
        assert child.wait(LONG_S) == 0
        warm.close()
    assert out.read_text() == "False\n"


def test_without_its_server_it_ends_and_the_next_has_a_new_one(run: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm, "_own", None)
        child, out = run("waits")
        until(lambda: "up" in out.read_text())
        warm._own.process.kill()
        assert child.wait(LONG_S) == -signal.SIGKILL
        until(lambda: gone(child.pid))
        again, _ = run("says")
        assert again.wait(LONG_S) == 7
        warm.close()


def test_a_killed_owner_leaves_nothing(modules: Path, tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNS], stdout=subprocess.PIPE, env=os.environ)
    child = psutil.Process(int(owner.stdout.readline()))
    server = child.parent()
    assert server.name() == "kubeloop-warm"
    assert server.environ()[OWNER] == child.environ()[OWNER] == identity(owner.pid)
    server.suspend()  # as if it were busy
    owner.kill()
    owner.wait()
    # Whatever the home; the next command of another test ends them, too.
    until(lambda: left_in(tmp_path, server.pid, child.pid) == {pid for pid in (server.pid, child.pid) if not gone(pid)})
    with suppress(psutil.NoSuchProcess):
        server.resume()
    until(lambda: gone(server.pid) and gone(child.pid))
    end_orphans(tmp_path)
    assert left_in(tmp_path, server.pid, child.pid) == set()
    owner.stdout.close()
