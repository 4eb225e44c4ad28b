import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from kubeloop.errors import InputError, TransientError
from kubeloop.site import laptop
from kubeloop.store import BusyError, lock, open_engine


def test_one_holder_at_a_time_and_the_other_is_told_who(site):
    with (
        lock(site, "run", 0, "a run of heart"),
        pytest.raises(BusyError, match="a second run needs the lock run") as busy,
        lock(site, "run", 0.01, "a second run"),
    ):
        pass
    assert isinstance(busy.value, TransientError)
    assert busy.value.exit_code == 2
    if site.sql.startswith("sqlite"):
        assert f"process {os.getpid()} (a run of heart, since" in busy.value.problem
    with lock(site, "run", 0, "a third run"):
        pass


def test_names_and_namespaces_do_not_meet(site):
    other = site.model_copy(update={"namespace": "team-b"})
    with lock(site, "a", 0, "x"), lock(site, "b", 0, "x"), lock(other, "a", 0, "x"):
        pass


def test_a_lock_is_free_after_an_error(site):
    with pytest.raises(ValueError, match="boom"), lock(site, "run", 0, "x"):
        raise ValueError("boom")
    with lock(site, "run", 0, "x"):
        pass


def test_a_killed_holder_holds_nothing(site):
    open_engine(site).dispose()
    fork = multiprocessing.get_context("fork")
    mine, its = fork.Pipe()

    def hold():
        with lock(site, "run", 0, "the first run"):
            its.send("held")
            signal.pause()

    process = fork.Process(target=hold)
    process.start()
    assert mine.poll(180)
    with pytest.raises(BusyError), lock(site, "run", 0, "x"):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(180)
    with lock(site, "run", 120, "the same command again"):
        pass


def test_counting_under_the_lock_loses_nothing(site, together, tmp_path):
    file = tmp_path / "count"
    file.write_text("0")
    open_engine(site).dispose()

    def work(number):
        for _ in range(10):
            with lock(site, "count", 60, "counting"):
                file.write_text(str(int(file.read_text()) + 1))

    assert together(4, work) == [0] * 4
    assert file.read_text() == "40"


def test_a_home_that_cannot_be_made_is_told():
    nowhere = laptop(Path("/proc/nope/home"))
    with (
        pytest.raises(InputError, match="/proc/nope/home/locks cannot be written: No such file or directory"),
        lock(nowhere, "run", 0, "a run"),
    ):
        pass
