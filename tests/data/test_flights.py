"""Flights of January to March with the hour's weather: a random split is refused, whole days are not."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kubeloop.contract.features import Features
from kubeloop.contract.load import read_contract
from kubeloop.contract.sections import sections_of
from kubeloop.contract.splitting import Split
from kubeloop.data.ingest import ingest
from kubeloop.data.splitting import split
from kubeloop.data.validation import validate
from kubeloop.errors import InputError
from kubeloop.site import laptop

NOW = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def flights(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("flights")
    example = root / "examples" / "flights"
    text = (example / "loop.yaml").read_text(encoding="utf-8").replace("flights.parquet", "flights-q1.parquet")
    (folder / "loop.yaml").write_text(text, encoding="utf-8")
    sections = sections_of(read_contract(folder / "loop.yaml"))
    ingest(sections.ingest, laptop(folder / "home", example), folder / "table")
    return sections, folder


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({"by": "hash"}, "fail"),
        ({"by": "stratified"}, "fail"),
        ({"by": "group", "column": "carrier"}, "fail"),
        ({"by": "group", "column": "time_hour", "unit": "day"}, "pass"),
        ({"by": "time", "unit": "day"}, "pass"),
    ],
)
def test_shared_hours(flights: tuple[Any, Path], tmp_path: Path, how: dict[str, Any], verdict: str) -> None:
    sections, folder = flights
    section = sections.validation.model_copy(update={"split": Split(**how)})
    decision, _ = validate(section, folder / "table", tmp_path / "valid", tmp_path / "aside", NOW)
    assert decision.verdict == verdict, decision.reasons
    if verdict == "fail":
        assert [check.name for check in decision.checks if check.verdict != "pass"] == ["leak:shared:weather"]
        assert "write `split: {by: time, unit: day}`, or keep whole days together with" in decision.reasons[0]
    else:
        parted = sections.split.model_copy(update={"split": Split(**how)})
        facts = split(parted, tmp_path / "valid", tmp_path / "development", tmp_path / "test")
        assert facts["looked_at"][-1]["count"] == 0


@pytest.mark.parametrize("late", ["dep_delay", "air_time"])
def test_what_is_known_too_late_is_refused(flights: tuple[Any, Path], tmp_path: Path, late: str) -> None:
    sections, folder = flights
    section = sections.validation.model_copy(update={"features": Features(use=("hour", late))})
    decision, _ = validate(section, folder / "table", tmp_path / "valid", tmp_path / "aside", NOW)
    assert decision.verdict == "fail"
    assert decision.reasons == [
        f"{late}: known only after the decision (known_at: after), and named in `features`; take it out"
    ]
    text = (folder / "loop.yaml").read_text(encoding="utf-8")
    assert "\nfeatures:" not in text
    (tmp_path / "loop.yaml").write_text(f"{text}\nfeatures: {{use: [hour, {late}]}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"'{late}' may not be a feature: known_at is after"):
        read_contract(tmp_path / "loop.yaml")
