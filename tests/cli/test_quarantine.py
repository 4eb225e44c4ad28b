"""`kubeloop quarantine`: what was set aside is shown, exported, mended and kept for the next run."""

import datetime as dt
from pathlib import Path

import pytest
from click.testing import CliRunner

from kubeloop.cli.quarantine_ import command
from kubeloop.contract.load import read_contract
from kubeloop.contract.sections import sections_of
from kubeloop.data.ingest import ingest
from kubeloop.data.mended import mended_rows
from kubeloop.data.validation import judge
from kubeloop.errors import InputError
from kubeloop.site import laptop
from kubeloop.tracking.record import RunRecord, TaskRecord, write_run, write_task

NOW = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
CONTRACT = """\
kubeloop: 1
name: small
data:
  sources: [{name: a, path: a.csv}]
  columns:
    x: {type: number, maximum: 5}
    y: {type: integer}
target: {column: y, task: binary}
estimator: {kind: logistic_regression}
metrics: {primary: roc_auc}
"""


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a run has set two of 20 rows aside."""
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{9 if i < 2 else 1},{i % 2}\n" for i in range(20)))
    (tmp_path / "loop.yaml").write_text(CONTRACT)
    site = laptop(tmp_path / ".kubeloop", tmp_path)
    sections = sections_of(read_contract(tmp_path / "loop.yaml"))
    place = tmp_path / ".kubeloop" / "work" / "small-1" / "artifacts" / "p" / "validate"
    ingest(sections.ingest, site, place / "table")
    decision, facts = judge(sections.validation, place / "table", place / "valid", place / "quarantine", site, NOW)
    write_run(site, RunRecord(run_id="small-1", name="small", status="refused", started=NOW, finished=NOW))
    record = TaskRecord(task="validate", status="done", started=NOW, finished=NOW, facts=facts, decision=decision)
    write_task(site, "small-1", record)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_export_replay(loop: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(command, ["list", "small"], catch_exceptions=False).output
    assert "2 of 20 rows are in quarantine" in shown
    assert "x <= 5  (rows 1, 2)" in shown
    shown = runner.invoke(command, ["export", "small"], catch_exceptions=False).output
    assert "wrote  mended.csv  (2 rows" in shown
    text = (loop / "mended.csv").read_text()
    assert "x <= 5: got 9.0" in text
    (loop / "mended.csv").write_text(text.replace("\n9.0,", "\n4,"))
    shown = runner.invoke(command, ["replay", "mended.csv"], catch_exceptions=False).output
    assert "kept   2 mended rows of small (2 in all)" in shown
    kept = mended_rows(laptop(loop / ".kubeloop", loop), "small")
    assert kept.column("x").to_pylist() == [4.0, 4.0]


def test_no_such_model(loop: Path) -> None:
    with pytest.raises(InputError, match="a run of 'large' that has validated its data was expected, there is none"):
        CliRunner().invoke(command, ["list", "large"], catch_exceptions=False)
