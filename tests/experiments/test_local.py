"""Searches on this machine, with real programs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from kubeloop.errors import InputError
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.local import Place, run_local
from kubeloop.experiments.process import MOST_OUTPUT
from kubeloop.experiments.trials import Outcome, Trial, table_of
from tests.ports import free_port

Experiment = Callable[..., dict[str, Any]]
Runs = Callable[..., Outcome]


def with_program(document: dict[str, Any], *command: str) -> dict[str, Any]:
    """The same Experiment around another program, which gets no parameters but `$lr`."""
    spec = document["spec"]
    spec["parameters"] = spec["parameters"][:1]
    template = spec["trialTemplate"]
    template["trialParameters"] = template["trialParameters"][:1]
    container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = list(command)
    container["env"] = [{"name": "lr", "value": "${trialParameters.rate}"}]
    return document


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    def go(document: dict[str, Any], name: str = "out", **more: Any) -> Outcome:
        place = Place(tmp_path / name, tmp_path / "home", tmp_path, more.pop("limit_s", None))
        return run_local(from_experiment(document), place, **more)

    return go


def script(document: dict[str, Any], text: str) -> dict[str, Any]:
    return with_program(document, "sh", "-c", text)


def test_finds_the_best_and_writes_the_table(experiment: Experiment, run: Runs) -> None:
    seen: list[tuple[Trial, Trial | None]] = []
    outcome = run(experiment(), on_trial=lambda trial, best: seen.append((trial, best)))
    values = [
        (float(t.assignment["lr"]) - 0.03) ** 2 + (float(t.assignment["momentum"]) - 0.7) ** 2 for t in outcome.trials
    ]
    assert [trial.value for trial in outcome.trials] == pytest.approx(values, rel=1e-5)
    assert outcome.best is not None
    assert outcome.best.value == min(t.value for t in outcome.trials if t.value is not None)
    assert outcome.ended == "trials"
    assert len(seen) == 6
    assert seen[-1][1] == outcome.best
    table = table_of(from_experiment(experiment()), outcome.trials)
    assert table.column("param.layers").to_pylist() == [int(t.assignment["layers"]) for t in outcome.trials]
    assert table.column("metric.depth").to_pylist() == [t.metrics["depth"] for t in outcome.trials]
    assert table.num_rows == 6


def test_same_seed_gives_the_same_search(experiment: Experiment, run: Runs) -> None:
    one, other = (run(experiment(), name) for name in ("one", "other"))
    assert [(t.assignment, t.value, t.status) for t in one.trials] == [
        (t.assignment, t.value, t.status) for t in other.trials
    ]


def test_grid_in_parallel_tries_every_point_once(experiment: Experiment, run: Runs) -> None:
    document = experiment(algorithm={"algorithmName": "grid"}, parallelTrialCount=3, maxTrialCount=5)
    outcome = run(script(document, "echo loss=$lr"))
    assert sorted(t.assignment["lr"] for t in outcome.trials) == ["0.01", "0.02", "0.03", "0.04", "0.05"]
    assert outcome.best is not None
    assert outcome.best.value == 0.01


def test_ends_at_the_goal_and_ends_what_still_runs(experiment: Experiment, run: Runs) -> None:
    document = experiment(parallelTrialCount=2, maxTrialCount=50)
    document["spec"]["objective"]["goal"] = 0.5
    # The first to make the folder reports; the other would sleep for an hour.
    outcome = run(script(document, "mkdir claim 2>/dev/null && echo loss=0.4 || sleep 3600"))
    assert (outcome.ended, len(outcome.trials)) == ("goal", 1)
    assert "the goal 0.5 was reached" in outcome.reason


BAD = {
    "silent": ("true", "no loss was reported"),
    "nan": ("echo loss=nan", "loss was reported as 'nan, inf or nothing', which is no finite number"),
    "nan once": ("echo loss=0.1; echo loss=NaN", "which is no finite number"),
    "colon": ("echo 'epoch 1, loss: 0.5'", "it printed 'epoch 1, loss: 0.5', and what is read is loss=<number>"),
    "code": ("echo no data >&2; exit 4", "it ended with code 4; its last line: no data"),
    "signal": ("echo loss=0.1; kill -SEGV $$", "it died by SIGSEGV"),
    "hangs": ("echo loss=0.1; exec sleep 600", "it ran longer than 4 s"),
    "forks": ("echo loss=0.1; sleep 600 & exit 0", "it left 1 of its processes running behind"),
    "forks away": ("echo loss=0.1; setsid sleep 600 & sleep 0.2; exit 0", "it left 1 of its processes running behind"),
    "floods": ("exec yes and on and on and on", f"it wrote more than {MOST_OUTPUT // 1024**2} MiB of output"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_program_fails_with_its_reason_and_the_search_goes_on(
    experiment: Experiment, run: Runs, tmp_path: Path, name: str
) -> None:
    text, reason = BAD[name]
    document = experiment(maxTrialCount=2, maxFailedTrialCount=2)
    outcome = run(
        script(document, f"mkdir {tmp_path}/done 2>/dev/null || {{ echo loss=0.7; exit 0; }}; {text}"),
        limit_s=4 if name == "hangs" else 600,
    )
    bad, good = outcome.trials
    assert reason in bad.reason
    assert bad.status == ("MetricsUnavailable" if name in ("silent", "nan", "nan once", "colon") else "Failed")
    assert bad.value is None
    assert good.value == 0.7
    assert outcome.best == good
    assert (tmp_path / "out" / bad.name / "log.txt").stat().st_size <= MOST_OUTPUT
    assert not [p for p in psutil.process_iter() if _started_by(p, tmp_path)]


def _started_by(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("KUBELOOP_HOME") == str(folder / "home") and process.is_running()
    except psutil.Error:
        return False


def test_failures_end_the_search(experiment: Experiment, run: Runs) -> None:
    outcome = run(script(experiment(maxTrialCount=9, maxFailedTrialCount=2, parallelTrialCount=1), "exit 1"))
    assert (outcome.ended, len(outcome.trials), outcome.best) == ("failed", 2, None)
    assert "2 trials failed, and maxFailedTrialCount is 2" in outcome.reason


def test_program_that_is_not_here_is_said_at_once(experiment: Experiment, run: Runs) -> None:
    with pytest.raises(InputError, match="the trial's program cannot be started: No such file or directory: no-such"):
        run(with_program(experiment(), "no-such"))


def test_metrics_come_from_a_file_of_each_trials_own(experiment: Experiment, run: Runs) -> None:
    source = {"fileSystemPath": {"path": "/katib/m.json", "kind": "File", "format": "JSON"}}
    collector = {"collector": {"kind": "File"}, "source": source}
    document = experiment(metricsCollectorSpec=collector, parallelTrialCount=2, maxTrialCount=4)
    text = """printf '{"loss": "%s", "timestamp": 1.5}\\n{"loss": "9"}\\n' $lr > /katib/m.json"""
    outcome = run(script(document, text))
    assert [t.value for t in outcome.trials] == [float(t.assignment["lr"]) for t in outcome.trials]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"loss": 0.3}', "a number, not text"),
        ("epoch 1", "a line that is no JSON document: 'epoch 1'"),
    ],
)
def test_traps_of_the_json_file_are_named(experiment: Experiment, run: Runs, line: str, reason: str) -> None:
    source = {"fileSystemPath": {"path": "/katib/m.json", "kind": "File", "format": "JSON"}}
    document = experiment(metricsCollectorSpec={"collector": {"kind": "File"}, "source": source}, maxTrialCount=1)
    outcome = run(script(document, f"echo '{line}' > /katib/m.json"))
    assert reason in outcome.trials[0].reason


SERVER = """
import http.server, threading, time
class Page(http.server.BaseHTTPRequestHandler):
    asked = threading.Event()
    def do_GET(self):
        body = b"# TYPE loss gauge\\nloss{epoch=\\"1\\"} 0.25\\nother 3\\n"
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body); Page.asked.set()
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", PORT), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
Page.asked.wait(240); time.sleep(0.3)
"""


def test_metrics_come_from_prometheus(experiment: Experiment, run: Runs, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "server.py").write_text(SERVER.replace("PORT", str(port)))
    source = {"httpGet": {"path": "/metrics", "port": port}}
    collector = {"collector": {"kind": "PrometheusMetric"}, "source": source}
    document = with_program(experiment(metricsCollectorSpec=collector, maxTrialCount=1), sys.executable, "server.py")
    assert [t.value for t in run(document).trials] == [0.25]


def test_median_stop_ends_a_bad_trial_at_its_step_and_only_there(experiment: Experiment, run: Runs) -> None:
    settings = [{"name": "min_trials_required", "value": "2"}, {"name": "start_step", "value": "2"}]
    document = experiment(
        earlyStopping={"algorithmName": "medianstop", "algorithmSettings": settings},
        algorithm={"algorithmName": "grid"},
        maxTrialCount=4,
        parallelTrialCount=1,
    )
    # 0.01 and 0.02 finish; 0.03 is worse at step 2 and would hang; 0.04 is better at step 2 and worse after it.
    text = """case $lr in
0.03) echo loss=9; echo loss=8; exec sleep 600;;
0.04) echo loss=1; echo loss=0.5; echo loss=9;;
*) echo loss=2; echo loss=1; echo loss=0.9;;
esac"""
    outcome = run(script(document, text))
    assert [t.status for t in outcome.trials] == ["Succeeded", "Succeeded", "EarlyStopped", "Succeeded"]
    assert outcome.trials[2].reason == "loss 8 was worse than 1.5, the mean of earlier trials, at report 2"
    assert outcome.best is not None
    assert outcome.best.number == 3


def test_another_search_in_the_same_folder_is_refused(experiment: Experiment, run: Runs) -> None:
    run(experiment(maxTrialCount=1))
    with pytest.raises(InputError, match="holds another search: its file, seed or first trials"):
        run(experiment(algorithm={"algorithmName": "tpe"}))


def test_a_finished_search_is_not_run_again_and_a_larger_budget_goes_on(experiment: Experiment, run: Runs) -> None:
    short = run(experiment(maxTrialCount=2))
    again = run(experiment(maxTrialCount=2))
    assert again.trials == short.trials
    assert again.kept == 2
    longer = run(experiment(maxTrialCount=4))
    assert longer.trials[:2] == short.trials
    whole = run(experiment(maxTrialCount=4), "anew")
    assert [t.assignment for t in longer.trials] == [t.assignment for t in whole.trials]


DRIVER = """
import sys, yaml
from pathlib import Path
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.local import Place, run_local
out = Path(sys.argv[1])
run_local(from_experiment(yaml.safe_load((out / "e.yaml").read_text())), Place(out / "out", out / "home", out))
"""


def test_killed_search_keeps_its_trials_leaves_no_process_and_goes_on_within_its_budget(
    experiment: Experiment, run: Runs, tmp_path: Path
) -> None:
    document = experiment(maxTrialCount=6, parallelTrialCount=2, algorithm={"algorithmName": "tpe"})
    # Two trials go through; those after them wait for a file that comes only after the kill. Each notes that it ran.
    text = f"""cd {tmp_path}; echo $lr >> ran
mkdir first 2>/dev/null || mkdir second 2>/dev/null || [ -e go ] || {{ echo > stuck; setsid sleep 600; }}
echo loss=$lr"""
    document = script(document, text)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(document))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], stdin=subprocess.DEVNULL)
    _until(lambda: (tmp_path / "stuck").exists() and len((tmp_path / "ran").read_text().split()) >= 4)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    kept = (tmp_path / "out" / "journal.jsonl").read_text().count('"end"')
    assert kept == 2
    (tmp_path / "go").touch()
    outcome = run(document)
    assert outcome.kept == 2
    assert [t.number for t in outcome.trials] == list(range(6))
    assert all(t.status == "Succeeded" for t in outcome.trials)
    assert len((tmp_path / "ran").read_text().split()) == 2 + 2 + 4
    assert not [p for p in psutil.process_iter() if _started_by(p, tmp_path)]


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
