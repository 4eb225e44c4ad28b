"""README is true: its commands print what it says, its help text is the command's, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kubeloop.site import laptop
from kubeloop.tracking import list_runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def run(root: Path) -> "subprocess.CompletedProcess[str]":
    """README's commands, run in the root; `make demo` leaves its home in out/demo."""
    return subprocess.run(
        [sys.executable, ".ci/readme.py"], cwd=root, capture_output=True, text=True, timeout=800, check=False
    )


@pytest.mark.slow
def test_commands_print_what_readme_says(run: "subprocess.CompletedProcess[str]") -> None:
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_flights_are_joined_in_time_and_judged_on_later_days(
    run: "subprocess.CompletedProcess[str]", root: Path
) -> None:
    runs = [found for found in list_runs(laptop(root / "out/demo/.kubeloop")) if found.name.startswith("flights")]
    assert runs, run.stdout
    facts = {task.task: task.facts for task in runs[0].tasks}
    assert (facts["ingest"]["rows"], facts["ingest"]["target_unknown"]) == (77_911, 2_878)
    assert facts["split"]["by"] == "time"
    assert facts["split"]["unit"] == "day"
    assert facts["split"]["test"] == pytest.approx(0.2 * 77_911, rel=0.05)
    assert "arr_delay" not in facts["train"]["features"]
    auc = facts["evaluate"]["metrics"]["roc_auc"]
    assert 0.6 < auc["low"] < auc["value"] < 0.76, "as good as on random rows would mean that days leak"
    assert "block" in auc["method"], "flights of one day are late together"


def test_links_lead_somewhere(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_every_command_named_in_readme_exists(root: Path) -> None:
    from kubeloop.cli.main import COMMANDS

    text = (root / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`?kubeloop ([a-z]+)", text)) - {"is"}
    assert named
    assert named <= set(COMMANDS)
