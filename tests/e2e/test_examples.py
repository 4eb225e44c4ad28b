"""The examples beside heart: a regression, whole, and what data in time may not do; README runs the rest of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.e2e


def copied(example: str, folder: Path) -> Path:
    shutil.copytree(EXAMPLES / example, folder)
    return folder


@pytest.mark.slow
def test_ames_is_judged_in_dollars_and_served(tmp_path: Path, kubeloop: Callable[..., Any]) -> None:
    project = copied("ames", tmp_path / "ames")
    said = kubeloop("run", "--json", cwd=project)
    assert said.code == 0, said.err
    facts = {name: task["facts"] for name, task in said.tasks.items()}
    assert facts["validate"]["quarantined"] == 1, "one house was remodelled before it was built"
    assert not {"Sale_Type", "Sale_Condition"} & set(facts["train"]["features"])
    assert facts["evaluate"]["metrics"]["mae"]["high"] < 25_000
    assert facts["evaluate"]["metrics"]["r2"]["low"] > 0.75


@pytest.mark.parametrize("late", ["dep_time", "dep_delay", "arr_time", "air_time", "arr_delay"])
def test_what_is_known_too_late_is_refused_as_a_feature(
    late: str, tmp_path: Path, edit: Callable[[Path, str, str], None]
) -> None:
    from kubeloop.contract.load import read_contract
    from kubeloop.errors import InputError

    contract = tmp_path / "loop.yaml"
    shutil.copy(EXAMPLES / "flights" / "loop.yaml", contract)
    assert read_contract(contract).data.columns[late].known_at == "after"
    edit(contract, "\nestimator:", f"\nfeatures: {{use: [hour, {late}]}}\n\nestimator:")
    with pytest.raises(InputError, match=f"'{late}' may not be a feature: known_at is after"):
        read_contract(contract)


@pytest.mark.slow
def test_flights_at_random_are_refused_for_their_shared_hours(tmp_path: Path, kubeloop: Callable[..., Any]) -> None:
    project = copied("flights", tmp_path / "flights")
    contract = project / "loop-q1.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("split: {by: time, unit: day, test: 0.2}", "split: {by: hash, test: 0.2}"))
    said = kubeloop("run", "loop-q1.yaml", "--json", cwd=project)
    assert said.code in (2, 3), said.err
    assert "hour" in said.run["error"]["problem"]
    assert "train" not in said.tasks
