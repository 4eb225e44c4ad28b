"""The arrows between rooms bite, also in the folders that `kubeloop/` only links to."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mypy.fscache import FileSystemCache
from mypy.modulefinder import FindModuleCache, SearchPaths
from mypy.options import Options

LINKED = ("components", "experiments", "pipelines", "serving")
CODE_AND_LINKS = ("kubeloop", *LINKED)


@pytest.fixture(scope="module")
def house(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, links kept as links."""
    copy = tmp_path_factory.mktemp("house")
    for name in CODE_AND_LINKS:
        shutil.copytree(root / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / ".importlinter", copy)
    return copy


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", LINKED)
def test_top_level_folder_is_linked_relatively(root: Path, name: str) -> None:
    assert (root / "kubeloop" / name).readlink() == Path("..") / name


def test_house_as_it_stands_is_kept(house: Path) -> None:
    done = lint(house)
    assert done.returncode == 0, done.stdout


LATE = "def late():\n    import {}\n"
# Where it is planted, the line, and what the linter must say.
PLANTED = [
    ("components/planted_cli.py", "from kubeloop import cli", "components.planted_cli -> kubeloop.cli"),
    ("components/planted_kserve.py", "import kserve", "components.planted_kserve -> kserve"),
    ("serving/planted.py", "import kubeloop.components", "serving.planted -> kubeloop.components"),
    ("experiments/planted.py", LATE.format("kubeloop.serving"), "experiments.planted -> kubeloop.serving"),
    ("pipelines/planted.py", LATE.format("kubernetes.client"), "pipelines.planted -> kubernetes"),
    ("kubeloop/digests/planted.py", "import kubeloop.contract", "digests.planted -> kubeloop.contract"),
    ("kubeloop/contract/planted.py", "from kfp import dsl", "contract.planted -> kfp"),
]


@pytest.fixture(scope="module")
def said(house: Path) -> str:
    """What the linter says of a house with all of it planted."""
    for place, line, _ in PLANTED:
        (house / place).write_text(line + "\n")
    done = lint(house)
    for place, _, _ in PLANTED:
        (house / place).unlink()
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.mark.parametrize("broken", [row[2] for row in PLANTED])
def test_forbidden_import_is_seen(said: str, broken: str) -> None:
    assert f"kubeloop.{broken}" in said


def test_room_without_a_place_is_refused(house: Path) -> None:
    (house / "kubeloop/attic").mkdir()
    (house / "kubeloop/attic/__init__.py").touch()
    done = lint(house)
    shutil.rmtree(house / "kubeloop/attic")
    assert done.returncode == 1, done.stdout
    assert "kubeloop.attic" in done.stdout


def test_mypy_finds_every_module_through_the_links(root: Path) -> None:
    options = Options()
    finder = FindModuleCache(SearchPaths((str(root),), (), (), ()), FileSystemCache(), options)
    found = {source.module for source in finder.find_modules_recursive("kubeloop")}
    expected = set()
    for name in CODE_AND_LINKS:
        for path in (root / name).rglob("*.py"):
            inside = path.relative_to(root).with_suffix("")
            parts = inside.parts if name == "kubeloop" else ("kubeloop", *inside.parts)
            expected.add(".".join(parts).removesuffix(".__init__"))
    assert expected - found == set()
    assert any(module.startswith("kubeloop.components.") for module in found)
