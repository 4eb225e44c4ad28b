"""The log and its labels at the command line."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kubeloop.cli.main import cli
from kubeloop.errors import InputError
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.writer import open_log


@pytest.fixture
def home(tmp_path: Path, model: LoggedModel) -> Path:
    """A home whose log holds sixty answers of 40 days ago, still in segments."""
    at = micros(dt.datetime.now(dt.UTC) - dt.timedelta(days=40))
    writer = open_log(tmp_path / "home" / "log", Speaker("default", "heart", "predictor", model), "required")
    for number in range(60):
        share = 0.9 if number % 3 else 0.2
        writer.append(f"e{number}", at, [[number, "1"]], [share > 0.5], [[1 - share, share]], keys=[f"00{number}"])
    writer.close()
    return tmp_path / "home"


def said(home: Path, *words: str) -> Any:
    done = CliRunner().invoke(cli, [*words, "--home", str(home)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.output) if "--json" in words else done.output


def test_from_segments_to_performance(home: Path, tmp_path: Path) -> None:
    assert said(home, "log", "status", "--json")["waiting_bytes"] > 0
    assert said(home, "log", "move", "--json") == {"segments": 1, "records": 60, "again": 0, "damaged": 0}
    (found,) = said(home, "log", "status", "--json")["services"]
    assert (found["service"], found["version"], found["events"], found["unanswered"]) == ("heart", "7", 60, 0)
    file = tmp_path / "truth.csv"
    file.write_text("patient,sick\n" + "".join(f"00{n},{int(n % 3 > 0 and n % 10 > 0)}\n" for n in range(50)))
    words = ("labels", str(file), "--model", "heart", "--key", "patient", "--value", "sick")
    first = {"model": "heart", "labels": 50, "new": 50, "corrected": 0, "duplicate": 0, "known": 50}
    assert said(home, *words, "--json") == first
    assert said(home, *words).startswith("stored 0 new, 0 corrected, 50 duplicate\nnext ")
    facts = said(home, "log", "performance", "heart", "--json")
    assert facts["coverage"]["mature"] == 60
    assert facts["measured"]["rows"] == 50
    assert facts["measured"]["unsure"] is None
    right = sum((n % 3 > 0) == (n % 3 > 0 and n % 10 > 0) for n in range(50)) / 50
    assert facts["measured"]["metrics"]["accuracy"]["value"] == pytest.approx(right)
    assert facts["estimated"]["rows"] == 10
    told = said(home, "log", "performance", "heart")
    assert "60 answered, 60 mature, 83% of those have a label" in told
    assert "assumed    the probabilities are calibrated on these rows" in told
    young = said(home, "log", "performance", "heart", "--maturity", "90d")
    assert "unsure     no row is older than 90d yet" in young
    assert "1 files" in said(home, "log", "export", "--out", str(tmp_path / "archive"))
    assert said(home, "log", "forget", "--older-than", "30d") == "removed 60 predictions older than 30d\n"


@pytest.mark.parametrize(
    ("by", "found", "hint"),
    [
        ("--key", "known  1 of 2 name a prediction", None),
        ("--event-id", "known  0 of 2 name a prediction", "patient finds rows by the header X-Request-Id"),
    ],
)
def test_labels_that_name_no_prediction_are_kept_and_told(home: Path, tmp_path: Path, by, found, hint) -> None:
    said(home, "log", "move")
    file = tmp_path / "truth.csv"
    file.write_text("patient,sick\n007,1\nnobody,0\n")
    told = said(home, "labels", str(file), "--model", "heart", by, "patient", "--value", "sick")
    assert told.startswith(f"stored 2 new, 0 corrected, 0 duplicate\n{found}")
    assert (f"hint   {hint}" in told) if hint else ("hint" not in told)


def test_what_is_asked_wrongly_is_told(home: Path, tmp_path: Path) -> None:
    said(home, "log", "move")
    file = tmp_path / "truth.csv"
    file.write_text("patient,sick\n1,1\n")
    with pytest.raises(InputError, match="exactly one of --event-id and --key"):
        said(home, "labels", str(file), "--model", "heart")
    with pytest.raises(InputError, match=r"'hart' .* has logged nothing"):
        said(home, "labels", str(file), "--model", "hart", "--key", "patient")
    with pytest.raises(InputError, match="an age such as 90d"):
        said(home, "log", "performance", "heart", "--maturity", "soon")
