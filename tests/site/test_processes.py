import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from kubeloop.site import processes
from kubeloop.site.processes import (
    HOME,
    OWNER,
    child_environment,
    die_with_parent,
    end_orphans,
    identity,
    is_alive,
    orphans,
)
from tests.orphaned import gone

WAIT = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)
OWN = """
import subprocess, sys, signal
from pathlib import Path
from kubeloop.site.processes import child_environment, die_with_parent
how = {"preexec_fn": die_with_parent} if sys.argv[2] == "bound" else {"start_new_session": True}
how |= {"env": child_environment(Path(sys.argv[1])), "stdout": subprocess.PIPE}
child = subprocess.Popen([sys.executable, "-c", sys.argv[3]], **how)
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def own(home):
    """Start an owner that starts a child under `home`; the owner's Popen and the child's process."""
    started = []

    def start(code=WAIT, how="free"):
        command = [sys.executable, "-c", OWN, str(home), how, code]
        owner = subprocess.Popen(command, stdout=subprocess.PIPE, env=_without_ours())
        child = psutil.Process(int(owner.stdout.readline()))
        started.append((owner, child))
        return owner, child

    yield start
    for owner, child in started:
        for process in (owner, child):
            try:
                process.kill()
            except psutil.Error:
                continue
        owner.wait(180)
        owner.stdout.close()


def _without_ours():
    return {key: value for key, value in os.environ.items() if key not in (HOME, OWNER)}


def _kill(owner):
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait(180)


@pytest.fixture(autouse=True)
def none_but_ours(monkeypatch):
    """What other tests leave for a moment counts for any home; here such processes are strangers."""
    monkeypatch.setattr(processes, "ANY_HOME", "no mark")


def _gone(process):
    """Wait for its end: it has lost its memory, and is no orphan any more, a moment before that."""
    end = time.monotonic() + 120
    while not gone(process):
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.01)
    return True


def test_an_owner_that_lives_has_no_orphans(home, own):
    owner, child = own()
    assert child.environ()[OWNER] == identity(owner.pid)
    assert orphans(home) == []
    assert end_orphans(home) == []
    assert child.is_running()


def test_what_a_killed_owner_leaves_is_found_and_ended(home, own):
    owner, child = own()
    _kill(owner)
    assert orphans(home) == [child]
    assert end_orphans(home) == [child.pid]
    assert _gone(child)
    assert orphans(home) == []


def test_the_stubborn_are_killed(home, own):
    owner, child = own(STUBBORN)
    _kill(owner)
    assert end_orphans(home, deadline_s=0.2) == [child.pid]
    assert _gone(child)


def test_the_stopped_are_killed(home, own):
    owner, child = own()
    child.suspend()
    _kill(owner)
    assert end_orphans(home, deadline_s=0.2) == [child.pid]
    assert _gone(child)


def test_children_of_the_ended_are_ended_too(home, own):
    middle = (
        OWN.replace("sys.argv[1]", repr(str(home))).replace("sys.argv[2]", "'free'").replace("sys.argv[3]", repr(WAIT))
    )
    owner, child = own(middle)
    _kill(owner)
    (grandchild,) = child.children()
    assert set(end_orphans(home)) == {child.pid, grandchild.pid}
    assert _gone(child)
    assert _gone(grandchild)


def test_one_bound_to_its_parent_dies_with_it(home, own):
    owner, child = own(how="bound")
    _kill(owner)
    psutil.wait_procs([child], timeout=180)
    assert _gone(child)
    assert orphans(home) == []


def test_strangers_and_other_homes_are_left_alone(home, own, tmp_path):
    dead = "999999999:1"
    strangers = [
        {},
        {HOME: str(home)},
        {OWNER: dead},
        {HOME: str(tmp_path / "other"), OWNER: dead},
        {HOME: str(home), OWNER: identity()},
    ]
    owner, child = own()
    _kill(owner)
    others = []
    try:
        for more in strangers:
            command = [sys.executable, "-c", WAIT]
            others.append(subprocess.Popen(command, env={**_without_ours(), **more}, stdout=subprocess.PIPE))
            others[-1].stdout.readline()
        assert end_orphans(home) == [child.pid]
        assert [other.poll() for other in others] == [None] * len(others)
    finally:
        for other in others:
            other.kill()
            other.wait(180)
            other.stdout.close()


def test_this_process_and_those_above_it_are_spared(home):
    code = f"""
from pathlib import Path
from kubeloop.site.processes import orphans, end_orphans
print(orphans(Path({str(home)!r})), end_orphans(Path({str(home)!r})))
"""
    environ = {**_without_ours(), HOME: str(home), OWNER: "999999999:1"}
    inner = [sys.executable, "-c", code]
    outer = [sys.executable, "-c", f"import subprocess; subprocess.run({inner!r}, check=True)"]
    assert subprocess.run(outer, env=environ, capture_output=True, check=True, text=True).stdout == "[] []\n"


def test_the_same_home_by_another_name_is_the_same(home, own, tmp_path):
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    owner, child = own()
    _kill(owner)
    assert orphans(tmp_path / "link") == [child]


def test_a_reused_pid_is_another_process():
    pid, start = identity().split(":")
    assert is_alive(f"{pid}:{start}")
    assert not is_alive(f"{pid}:{int(start) - 1}")


def test_an_orphan_whose_owners_pid_was_reused_is_found(home):
    # The pid lives, it is ours, and it began at another time: the owner is gone.
    environ = {**_without_ours(), HOME: str(home), OWNER: f"{os.getpid()}:1"}
    child = subprocess.Popen([sys.executable, "-c", WAIT], env=environ, stdout=subprocess.PIPE)
    child.stdout.readline()
    try:
        assert [process.pid for process in orphans(home)] == [child.pid]
    finally:
        child.kill()
        child.wait(180)
        child.stdout.close()


def test_a_containers_processes_are_no_orphans_of_ours(home):
    """Seen from here, but counted by pids of their own: the owner that they name lives where we cannot see it."""
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody make a pid namespace")
    command = [*apart, "env", f"{HOME}={home}", f"{OWNER}=2:1", sys.executable, "-c", WAIT]
    child = subprocess.Popen(command, env=_without_ours(), stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline()
        assert orphans(home) == []
        assert end_orphans(home) == []
    finally:
        child.kill()
        child.wait(60)
        child.stdout.close()


@pytest.mark.parametrize("owner", ["", "x", "x:1", "-1:1", "0:0", "999999999:1"])
def test_what_names_no_process_is_dead(owner):
    assert not is_alive(owner)


def test_one_that_ended_and_was_not_reaped_is_dead():
    child = subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE)
    child.stdout.readline()
    named = identity(child.pid)
    assert is_alive(named)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(named)
    child.wait(180)
    child.stdout.close()
    with pytest.raises(ProcessLookupError, match=f"no process {child.pid}"):
        identity(child.pid)


def test_a_child_inherits_our_environment(home, monkeypatch):
    monkeypatch.setenv("SOMETHING", "else")
    found = child_environment(home)
    assert (found["SOMETHING"], found[HOME], found[OWNER]) == ("else", str(home), identity())
    assert OWNER not in os.environ or os.environ[OWNER] != found[OWNER]
    assert callable(die_with_parent)
    assert Path(found[HOME]).is_absolute()
