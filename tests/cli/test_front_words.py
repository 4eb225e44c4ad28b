"""What init says, what stands for a contract, how a running task is shown, and which models `import` does not take."""

import datetime as dt
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from kubeloop.cli.main import cli
from kubeloop.cli.steps import Steps
from kubeloop.errors import InputError, IntegrityError
from kubeloop.tracking.record import TaskRecord


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"2026-01-{1 + row % 28:02d},{row % 17},{row % 2}" for row in range(120)]
    (tmp_path / "visits.csv").write_text("\n".join(["day,size,sick", *rows]) + "\n")
    return tmp_path / "visits.csv"


def ask(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def test_init_says_that_a_time_does_not_make_the_split(table: Path) -> None:
    made = ask("init", table, "--target", "sick", "--time", "day", "--out", table.parent / "timed")
    assert made.exit_code == 0, made.output
    assert "split  by hash, blind to time; `split: {by: time}` judges on the rows that came last" in made.output
    plain = ask("init", table, "--target", "sick", "--out", table.parent / "plain")
    assert "split  " not in plain.output


def test_a_folder_stands_for_the_contract_in_it(table: Path) -> None:
    assert ask("init", table, "--target", "sick", "--out", table.parent / "project").exit_code == 0
    in_folder, by_file = (ask("check", table.parent / "project" / word) for word in ("", "loop.yaml"))
    assert (in_folder.exit_code, in_folder.output) == (by_file.exit_code, by_file.output)
    assert in_folder.exit_code == 0, in_folder.output


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("model.skops", None, InputError, "a model file was expected at"),
        ("model.pkl", b"anything", InputError, "is a pickle, which runs whatever code it brings"),
        ("model.skops", b"\x80\x04", InputError, "is a pickle, which runs whatever code it brings"),
        ("model.skops", b"no archive", IntegrityError, "is no readable model file"),
    ],
)
def test_import_refuses_before_a_run_begins(
    name: str, content: bytes | None, kind: type[Exception], said: str, table: Path
) -> None:
    project = table.parent / "project"
    assert ask("init", table, "--target", "sick", "--out", project).exit_code == 0
    model = table.parent / name
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(kind, match=said):
        ask("import", model, project)
    assert not (project / ".kubeloop").exists()


def test_the_running_task_says_what_it_is_at_without_beginning_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = io.StringIO()
    steps = Steps(Console(file=screen, force_terminal=True, width=100))
    began = TaskRecord(task="tune", status="running", started=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    steps(began)
    steps(began.model_copy(update={"facts": {"progress": "trial 3: Succeeded 0.9; best 0.9"}}))
    steps.stop()
    assert re.search(r"tune trial 3: Succeeded 0\.9; best 0\.9 .*\d:\d\d:\d\d", screen.getvalue())
    assert screen.getvalue().count("\x1b[?25l") == 1  # one display from beginning to end


def test_the_running_task_turns_with_its_time_and_goes_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = io.StringIO()
    steps = Steps(Console(file=screen, force_terminal=True, width=100))
    begun = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    steps(TaskRecord(task="attach_monitor", status="running", started=begun))
    assert re.search(r"attach_monitor \.\.\. .*\d:\d\d:\d\d", screen.getvalue())
    steps(TaskRecord(task="attach_monitor", status="done", started=begun, finished=begun + dt.timedelta(seconds=2)))
    _, cleared, left = screen.getvalue().rpartition("\x1b[2K")
    assert cleared
    assert "..." not in left
    assert re.search(r"attach_monitor.* done .*2\.0 s", left)
