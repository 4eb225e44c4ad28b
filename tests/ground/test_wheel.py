"""Sdist and wheel hold exactly the files that git tracks for them, the linked folders as real ones."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

LINKED = ("components", "experiments", "pipelines", "serving")
# Beside the package itself the sdist holds what its build reads.
SDIST_TOP = {"LICENSE", "README.md", "pyproject.toml"}
GENERATED = {"PKG-INFO", "setup.cfg"}
# One of each extra's libraries.
NATIVE = re.compile(r"kubeloop/(digests|scoring)/_native\..+\.(so|pyd)")
SMOKE: tuple[str, ...] = ("duckdb", "kfp.compiler", "kfp.kubernetes", "mlflow", "kserve", "kubernetes.client", "optuna")
SMOKE += ("kubeflow_katib_api.models", "alibi_detect.cd")


def tracked(root: Path) -> set[str]:
    """Files that git tracks, and those that it would if all were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (root / name).is_file()}


def packaged(root: Path) -> set[str]:
    """The rule: every file under `kubeloop/`, and every file of a linked folder under its import name. Nothing else."""
    names = set()
    for name in tracked(root):
        top = name.partition("/")[0]
        if top in LINKED:
            names.add(f"kubeloop/{name}")
        elif top == "kubeloop":
            names.add(name)
    return names


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sdist, wheel), the wheel built from the sdist, offline, from a copy of what git tracks."""
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked(root):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, tree / name)
    for name in LINKED:
        (tree / "kubeloop" / name).symlink_to(Path("..") / name)
    out = tmp_path_factory.mktemp("dist")
    command: list[str | Path] = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def test_sdist_holds_the_package_and_what_builds_it(root: Path, built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()], (
        "a link breaks outside this tree"
    )
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    names = {name for name in names if not name.startswith("kubeloop.egg-info/")}
    assert names == packaged(root) | (SDIST_TOP & tracked(root)) | GENERATED


def test_wheel_holds_the_package(root: Path, built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {name for name in names if NATIVE.fullmatch(name)}
    assert {name.split("/")[1] for name in compiled} == {"digests", "scoring"}, "what is in C was not built"
    assert names - compiled == packaged(root)
    for folder in LINKED:
        assert f"kubeloop/{folder}/__init__.py" in names


def test_wheel_says_its_licence_and_command(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = {name.partition(".dist-info/")[2]: name for name in archive.namelist()}
        assert "kubeloop = kubeloop.cli.main:main" in archive.read(names["entry_points.txt"]).decode()
        assert "License-Expression: Apache-2.0" in archive.read(names["METADATA"]).decode()
        assert "licenses/LICENSE" in names


def test_wheel_imports_in_an_empty_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    python = tmp_path / "empty/bin/python"
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        built[1],
    ]
    subprocess.run(install, check=True)
    code = "import kubeloop; print(kubeloop.__version__, kubeloop.__file__)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    version, place = done.stdout.split()
    assert version == built[1].name.split("-")[1]
    assert place.startswith(str(tmp_path))


@pytest.mark.network
@pytest.mark.timeout(1800)
def test_plain_pip_installs_every_extra_but_katib(built: tuple[Path, Path], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "full"], check=True)
    python = tmp_path / "full/bin/python"

    def run(*command: str) -> str:
        done = subprocess.run([python, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("-m", "pip", "install", "--quiet", f"kubeloop[core,serve,cluster,tune,alibi] @ {built[1].as_uri()}")
    run("-m", "pip", "check")
    run("-c", "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)", *SMOKE)
    assert "run" in run("-m", "kubeloop.cli.main", "--help")
    done = subprocess.run(
        [python.parent / "kubeloop", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Usage: kubeloop" in done.stdout
