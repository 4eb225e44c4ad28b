"""Build the images: `python images/build.py [pipeline|predictor|detector ...] [--base REF] [--tool buildah|docker]`.

The wheels of uv.lock are downloaded and held against their hashes first; the build itself needs no network. Without a
registry, `--base` takes the name of an image that is here already.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubeloop-images"
ENVIRONMENTS = {
    "pipeline": ("core", "serve", "cluster", "tune"),
    "predictor": ("serve",),
    "detector": ("core", "serve"),
}
"""The extras of pyproject.toml that each image installs; alibi-detect is BSL 1.1 and so is in none of them."""

_PYTHON = str(ROOT / ".venv/bin/python")
_PIP = "pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def context(name: str) -> Path:
    """Make the build's context: `locked/` with the lock's wheels and their hashes, `own/` with Kubeloop's wheel."""
    folder = CACHE / "context" / name
    extras = [word for extra in ENVIRONMENTS[name] for word in ("--extra", extra)]
    export = [str(ROOT / ".venv/bin/uv"), "export", "-q", "--frozen", "--no-dev", "--no-emit-project", *extras]
    _locked(folder / "locked", _run([*export, "--format", "requirements-txt"]))
    own = folder / "own"
    # setuptools never takes away what is gone from the tree since the last build.
    for stale in (own, *(ROOT / "build").glob("lib*")):
        shutil.rmtree(stale, ignore_errors=True)
    own.mkdir()
    _run([_PYTHON, "-m", "build", "-w", "-n", "-o", str(own), str(ROOT)])
    shutil.copy(ROOT / "images/sbom.py", own)
    shutil.copy(ROOT / "images/install.sh", folder)
    return folder


def _locked(folder: Path, text: str) -> None:
    """Every wheel of a lock, held against its hash; a folder that is of this lock already stays as it is."""
    whole = folder / "requirements.txt"  # written last
    lock = folder / "lock.txt"
    if whole.exists() and lock.read_text(encoding="utf-8") == text:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lock.write_text(text, encoding="utf-8")
    wheel = [_PYTHON, "-m", "pip", "wheel", "-q", "--no-deps", "--require-hashes", "-w", str(folder), "-r"]
    # What there is as source alone becomes a wheel here, after its hash was checked: the image needs no compiler.
    _run([*wheel, str(lock)])
    lines = [f"{_pinned(item.name)} --hash=sha256:{_digest(item)}" for item in sorted(folder.glob("*.whl"))]
    pip = folder / "pip.txt"
    pip.write_text(_PIP + "\n", encoding="ascii")
    _run([*wheel, str(pip)])
    whole.write_text("\n".join(lines) + "\n", encoding="ascii")


def build(name: str, base: str | None, tool: Sequence[str], tag: str) -> float:
    """Build one image; gives the seconds that it took."""
    began = time.monotonic()
    folder = context(name)
    arguments = {"VERSION": _version(), "REVISION": _run(["git", "-C", str(ROOT), "rev-parse", "HEAD"]).strip()}
    if base is not None:
        arguments["BASE"] = base
    given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    _run([*tool, *given, "-f", str(ROOT / "images" / name / "Containerfile"), "-t", tag, str(folder)])
    return time.monotonic() - began


def _version() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("version = "))


def _pinned(wheel: str) -> str:
    name, version = wheel.split("-")[:2]
    return f"{name}=={version}"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-2000:]
        raise SystemExit(f"{' '.join(command[:6])} ... ended with {done.returncode}:\n{said}")
    return done.stdout


def main() -> int:
    """Build what was asked for, all if nothing was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ENVIRONMENTS, []], help="which; all if none is named")
    parser.add_argument("--base", help="base image with Python 3.11; a reference by digest, or one that is here")
    parser.add_argument("--tool", choices=["buildah", "docker"], default="buildah")
    parser.add_argument("--root", help="buildah's store, where it shall not be the machine's own")
    parser.add_argument("--registry", default="ghcr.io/kubeloop")
    chosen = parser.parse_args()
    rooted = ["--root", chosen.root, "--runroot", f"{chosen.root}-run"] if chosen.root else []
    buildah = ["buildah", *rooted, "bud", "--layers", "--isolation", "chroot"]
    tool = ["docker", "build"] if chosen.tool == "docker" else buildah
    for name in chosen.names or ENVIRONMENTS:
        tag = f"{chosen.registry}/{name}:{_version()}"
        seconds = build(name, chosen.base, tool, tag)
        sys.stdout.write(json.dumps({"image": tag, "seconds": round(seconds)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
