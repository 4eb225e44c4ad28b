"""Twenty generated tables: every planted column is named with its reason, the clean ones are left in peace."""

import datetime as dt
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kubeloop.contract.infer import infer
from kubeloop.contract.load import read_contract
from kubeloop.contract.sections import sections_of
from kubeloop.data.profile import profile


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kubeloop_test_tables", Path(__file__).with_name("tables.py"))
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # dataclasses look their module up
    spec.loader.exec_module(found)
    return found


tables = _load()
REASONS = {
    "id": r"# p_id: left out, .*(id|row number)",
    "constant": r"# p_constant: left out, it is constant",
    "leak": r"p_leak: \{.*known_at: after.*\} +# tells the target almost perfectly \(",
    "mixed": r"# p_mixed: left out, numbers in [\d,]+ cells, beside words such as ",
    "date": r"# p_date: left out, (dates written as|a moment is no feature)",
    "null": r"- p_null    # missing in (3[4-9]|4\d)% of the rows",
}
CLEAN_FLAGGED: dict[int, list[str]] = {}


def contract_of(number: int, folder: Path) -> tuple[Any, str, Any]:
    planted = tables.make(number, folder)
    text = infer(profile(planted.path, planted.target), planted.path.name, target=planted.target, name="made")
    (folder / "loop.yaml").write_text(text, encoding="utf-8")
    return planted, text, read_contract(folder / "loop.yaml")


def flagged(planted: Any, contract: Any) -> list[str]:
    columns = contract.data.columns
    return [
        name
        for name in planted.clean
        if name not in columns or columns[name].known_at == "after" or name in contract.features.drop
    ]


@pytest.mark.parametrize("number", range(20))
def test_every_plant_is_named(number: int, tmp_path: Path) -> None:
    planted, text, contract = contract_of(number, tmp_path)
    assert contract.target.task == planted.task
    for name, kind in planted.planted.items():
        assert re.search(REASONS[kind], text), f"{name}:\n{text}"
    CLEAN_FLAGGED[number] = flagged(planted, contract)


def test_at_most_one_clean_column_is_flagged_over_all(tmp_path: Path) -> None:
    for number in range(20):
        if number not in CLEAN_FLAGGED:
            planted, _, contract = contract_of(number, tmp_path)
            CLEAN_FLAGGED[number] = flagged(planted, contract)
    assert len([name for names in CLEAN_FLAGGED.values() for name in names]) <= 1, CLEAN_FLAGGED


@pytest.mark.parametrize("number", range(20))
@pytest.mark.slow
def test_the_contract_runs_unedited(number: int, tmp_path: Path) -> None:
    from kubeloop.data.ingest import ingest
    from kubeloop.data.splitting import split
    from kubeloop.data.validation import judge
    from kubeloop.evaluation.baseline import Baseline
    from kubeloop.evaluation.evaluate import evaluate
    from kubeloop.learning.training import train
    from kubeloop.site import laptop

    planted, _, contract = contract_of(number, tmp_path)
    sections, site = sections_of(contract), laptop(tmp_path / "home", tmp_path)
    ingest(sections.ingest, site, tmp_path / "table")
    places = (tmp_path / "table", tmp_path / "valid", tmp_path / "aside")
    decision, facts = judge(sections.validation, *places, site, dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    assert decision.verdict == "pass", decision.reasons
    assert facts["quarantined"] == 0
    split(sections.split, tmp_path / "valid", tmp_path / "development", tmp_path / "test")
    found = train(sections.train, {}, tmp_path / "development", tmp_path / "model")
    assert not set(found["features"]) & set(planted.planted)
    assert {"age", "income", "height"} <= set(found["features"])
    none_yet = Baseline("none_yet", None, None, None, "")
    result = evaluate(sections.evaluate, tmp_path / "model", tmp_path / "test", none_yet)
    assert result.decision.verdict == "pass", result.decision.reasons
