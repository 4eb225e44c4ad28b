"""`kubeloop init` and `kubeloop run` on tables from installed packages, the contract unedited."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def write(name: str, folder: Path) -> tuple[Path, str]:
    from sklearn import datasets

    load = {
        "binary": datasets.load_breast_cancer,
        "multiclass": datasets.load_wine,
        "regression": datasets.load_diabetes,
    }[name]
    # Few columns and rows: what costs is a run, and that has a table of its own elsewhere.
    columns = {"binary": slice(0, 4), "multiclass": slice(0, 4), "regression": ["bmi", "bp", "s3", "s5"]}[name]
    whole = load(as_frame=True).frame
    frame = whole.loc[:, columns] if isinstance(columns, list) else whole.iloc[:, columns]
    frame = frame.assign(target=whole["target"]).head(569 if name == "regression" else 300)
    table = folder / f"{name}.csv"
    frame.to_csv(table, index=False)
    return table, "target"


@pytest.mark.parametrize(
    "task", ["binary", *(pytest.param(task, marks=pytest.mark.slow) for task in ("multiclass", "regression"))]
)
def test_unedited_contract_runs_to_a_served_model(task: str, tmp_path: Path, kubeloop: Any) -> None:
    table, target = write(task, tmp_path)
    made = kubeloop("init", table, "--target", target, "--out", tmp_path / "project", cwd=tmp_path)
    assert made.code == 0, made.err
    assert f"task: {task}" in (tmp_path / "project" / "loop.yaml").read_text(encoding="utf-8")
    said = kubeloop("run", "--json", "project/loop.yaml", cwd=tmp_path)
    assert said.code == 0, said.err + said.out
    assert said.run["status"] == "done"
    asked = kubeloop("predict", task, "--in", table, "--home", "project/.kubeloop", cwd=tmp_path)
    assert asked.code == 0, asked.err
    assert asked.out.count("prediction") == len(table.read_text(encoding="utf-8").splitlines()) - 1
