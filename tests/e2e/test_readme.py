"""README is true: its commands print what it says, its help text is the command's, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.mark.slow
def test_commands_print_what_readme_says(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, ".ci/readme.py"], cwd=root, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
