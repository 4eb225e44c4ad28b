"""Every command of the front door on one finished run, and the notebook's two functions."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.front_door import running_command
from tests.serving.test_local import until

pytestmark = pytest.mark.e2e

PATIENT = {
    **{"age": 63, "sex": 1, "cp": 4, "trestbps": 140, "chol": 260, "fbs": 0, "restecg": 2},
    **{"thalach": 112, "exang": 1, "oldpeak": 3.0, "slope": 2, "ca": 1, "thal": 7},
}


@pytest.fixture(scope="module")
def heart(trained: Any) -> Path:
    """The folder of the run that all workers share; of its home this module alone asks more."""
    return Path(trained.folder)


@pytest.fixture(scope="module")
def done(trained: Any) -> Any:
    assert trained.said.code == 0, trained.said.err
    return trained.said


def test_kfp_artifacts_hold_metrics_curves_and_pages(heart: Path, done: Any) -> None:
    (outputs,) = (heart / ".kubeloop" / "work").glob("*/artifacts/*/evaluate/executor_output.json")
    made = {
        name: found["artifacts"][0]
        for name, found in json.loads(outputs.read_text(encoding="utf-8"))["artifacts"].items()
    }
    assert {"roc_auc", "roc_auc_low", "roc_auc_high", "accuracy", "log_loss"} <= set(made["metrics"]["metadata"])
    assert {"confidenceMetrics", "confusionMatrix"} <= set(made["curves"]["metadata"])
    assert "<html" in Path(made["report"]["uri"]).read_text(encoding="utf-8")


def test_status_runs_open(heart: Path, done: Any, kubeloop: Callable[..., Any]) -> None:
    (model,) = json.loads(kubeloop("status", "--json", cwd=heart).out)["models"]
    assert model["champion"] == done.tasks["register"]["facts"]["digest"]
    assert model["disagreements"] == []
    assert model["champion"][7:19] in kubeloop("status", cwd=heart).out
    assert done.run["run_id"] in kubeloop("runs", cwd=heart).out
    page = kubeloop("open", "--print", cwd=heart).out.strip().splitlines()[-1]
    assert (heart / page).is_file()


def test_doctor_finds_nothing_to_mend(heart: Path, done: Any, kubeloop: Callable[..., Any]) -> None:
    said = kubeloop("doctor", "--json", cwd=heart)
    findings = {finding["what"]: finding for finding in json.loads(said.out)}
    assert said.code == 0
    assert findings["ledger"]["seen"].endswith("chain whole")
    assert all(finding["fix"] == "" for finding in findings.values())


def test_predict_from_every_kind_of_file_is_one_answer(
    heart: Path, done: Any, kubeloop: Callable[..., Any], tmp_path: Path
) -> None:
    import pandas as pd

    frame = pd.read_csv(heart / "heart.csv").head(20)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    drop = frame.drop(columns="target")
    (tmp_path / "rows.json").write_text(drop.to_json(orient="records"), encoding="utf-8")
    answers = [
        json.loads(kubeloop("predict", "heart", "--in", tmp_path / f"rows.{kind}", cwd=heart).out)
        for kind in ("csv", "parquet", "json")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 20
    kubeloop("predict", "heart@1", "--in", tmp_path / "rows.csv", "--out", tmp_path / "out.csv", cwd=heart)
    assert list(pd.read_csv(tmp_path / "out.csv")["prediction"]) == [row["prediction"] for row in answers[0]]


@pytest.mark.parametrize(
    ("model", "named"),
    [("hart", "registered are: heart"), ("heart@7", "numbers are 1 to 1"), ("heart@zzzzzz", "numbers are 1 to 1")],
)
def test_predict_with_an_unknown_model(
    model: str, named: str, heart: Path, done: Any, kubeloop: Callable[..., Any]
) -> None:
    said = kubeloop("predict", model, "--in", "heart.csv", cwd=heart)
    assert said.code == 2
    assert named in said.err


def test_compile_writes_the_golden_yaml_and_arguments_that_fit_it(
    heart: Path, done: Any, kubeloop: Callable[..., Any], tmp_path: Path, root: Path
) -> None:
    import yaml

    assert kubeloop("compile", "--out", tmp_path, cwd=heart).code == 0
    golden = (root / "pipelines" / "compiled" / "train.yaml").read_bytes()
    assert (tmp_path / "train.yaml").read_bytes() == golden
    declared = next(yaml.safe_load_all(golden))["root"]["inputDefinitions"]["parameters"]
    required = {name for name, spec in declared.items() if not spec.get("isOptional")}
    assert set(json.loads((tmp_path / "arguments.json").read_text())) == required


def test_serve_prints_a_curl_line_that_works_and_ends_cleanly(
    heart: Path, done: Any, kubeloop: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with running_command("serve", "heart", "--port", "0", cwd=heart, log=log) as server:
        until(lambda: server.poll() is not None or "curl" in log.read_text(encoding="utf-8"))
        line = next(line for line in log.read_text(encoding="utf-8").splitlines() if "curl" in line)
        answer = subprocess.run(
            ["bash", "-c", line.strip().removeprefix("$ ")], capture_output=True, text=True, check=True
        )
        assert "predictions" in answer.stdout
        (model,) = json.loads(kubeloop("status", "--json", cwd=heart).out)["models"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", model["url"])
        served = ask(f"{model['url']}/v1/models/heart:predict", {"instances": [PATIENT]})
        asked = kubeloop("predict", "heart", "--in", "-", cwd=heart, given=json.dumps([PATIENT]))
        (here,) = json.loads(asked.out)
        assert served["predictions"] == [here["prediction"]]
        assert served["probabilities"][0][1] == here["probability_1"]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=180) == 0
    (model,) = json.loads(kubeloop("status", "--json", cwd=heart).out)["models"]
    assert model["url"] is None


def ask(url: str, body: dict[str, Any]) -> Any:
    import urllib.request

    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=180) as answer:
        return json.loads(answer.read())


def test_notebook_loads_what_the_run_made(heart: Path, done: Any) -> None:
    import pandas as pd

    import kubeloop

    package = kubeloop.load("heart@champion", home=heart / ".kubeloop")
    assert package.digest == done.tasks["register"]["facts"]["digest"]
    answers = package.predict(pd.DataFrame([PATIENT]))
    assert answers.labels.tolist() == [1]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kubeloop.nothing


def test_notebook_runs_a_contract_and_raises_what_a_gate_refused(
    tmp_path: Path, copy_heart: Callable[[Path], Path], edit: Callable[[Path, str, str], None]
) -> None:
    import kubeloop
    from kubeloop.errors import RefusedError

    contract = copy_heart(tmp_path / "project")
    edit(contract, "path: heart.csv", "path: heart-mislabelled.csv")
    with pytest.raises(RefusedError, match="the data gate said fail") as refused:
        kubeloop.run(contract, quiet=True)
    assert "trestbps" in str(refused.value)


def test_gc_keeps_what_is_needed(heart: Path, done: Any, kubeloop: Callable[..., Any]) -> None:
    before = kubeloop("gc", "--keep", "0", "--dry-run", cwd=heart)
    assert "would remove" in before.out
    assert list((heart / ".kubeloop" / "work").iterdir())
    assert kubeloop("gc", "--keep", "0", cwd=heart).code == 0
    assert list((heart / ".kubeloop" / "work").iterdir()) == []
    assert kubeloop("predict", "heart", "--in", "heart.csv", cwd=heart).code == 0
    assert kubeloop("doctor", cwd=heart).code == 0
    assert done.run["run_id"] in kubeloop("runs", cwd=heart).out


@pytest.mark.parametrize(
    "command", ["init", "check", "run", "serve", "predict", "status", "runs", "open", "compile", "doctor", "gc"]
)
def test_help_has_examples(command: str) -> None:
    from click.testing import CliRunner

    from kubeloop.cli.main import cli

    said = CliRunner().invoke(cli, [command, "--help"], prog_name="kubeloop")
    assert said.exit_code == 0
    assert "Examples:" in said.output
    assert f"kubeloop {command}" in said.output


@pytest.mark.parametrize("command", ["status", "runs", "open", "gc"])
def test_a_folder_without_a_home_is_told_what_to_do(command: str, tmp_path: Path, kubeloop: Callable[..., Any]) -> None:
    said = kubeloop(command, cwd=tmp_path)
    assert said.code == 2
    assert "make one with `kubeloop run`" in said.err


def test_unknown_command_names_the_nearest(tmp_path: Path, kubeloop: Callable[..., Any]) -> None:
    said = kubeloop("rnu", cwd=tmp_path)
    assert said.code == 2
    assert "Did you mean 'run'?" in said.err
