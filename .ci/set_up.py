"""Fill the one environment with what uv.lock says.

Called by the Makefile: `python .ci/set_up.py VENV UV_VERSION STAMP`.

Standard library alone: it runs before anything is installed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NATIVE = sorted(map(str, Path("kubeloop").glob("*/*.[ch]")))
"""Compiled where the package is installed."""


def inputs_digest(venv: Path, uv_version: str) -> str:
    """Digest of all that decides what the environment holds; the stamp's text."""
    texts = [str(venv.absolute()).encode(), uv_version.encode()]
    texts += [Path(name).read_bytes() for name in ("pyproject.toml", "uv.lock", *NATIVE)]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def usable(venv: Path) -> bool:
    """Whether the environment is whole enough to be brought up to date in place."""
    if (venv / ".unfinished").exists():  # a killed installer can leave a package that looks installed
        return False
    code = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))"
    try:
        return subprocess.run([venv / "bin/python", "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def pip_setting(python: Path, name: str) -> str | None:
    """What pip's configuration (files, then environment) says of `name`; pip alone knows all the places."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    found = [line.partition("=")[2].strip("'\"") for line in listed.splitlines() if f".{name}=" in line]
    return found[-1] if found else None


def installer_environment(python: Path) -> dict[str, str]:
    """The caller's environment, with uv held to this interpreter and to the certificates the machine trusts."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    env |= {
        "PIP_USER": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_COMPILE_BYTECODE": "1",  # else the first run compiles a gigabyte of libraries while somebody waits
    }
    certificates = pip_setting(python, "cert")
    if certificates:
        env.setdefault("SSL_CERT_FILE", certificates)
    return env


def install(venv: Path, uv_version: str) -> None:
    """Bring `venv` to what the lock says: by uv, or by pip where pip is told of another index than the lock's."""
    python = venv / "bin/python"
    env = installer_environment(python)

    def run(*command: str | Path) -> None:
        subprocess.run(command, env=env, check=True)

    # Each task is a process of its own: where Python may not write bytecode, every one of them would compile us anew.
    compiled = (python, "-m", "compileall", "-qq", "kubeloop", "components", "experiments", "pipelines", "serving")
    run(python, "-m", "pip", "install", "--quiet", f"uv=={uv_version}")
    uv = venv / "bin/uv"
    if not (pip_setting(python, "index-url") or pip_setting(python, "no-index")):
        env["UV_PROJECT_ENVIRONMENT"] = str(venv.absolute())
        run(uv, "sync", "--quiet", "--locked", "--all-extras", "--python", python)
        run(*compiled)
        return
    # uv takes files from the addresses in the lock; pip takes the same files, hash by hash, from where it is told.
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.txt"
        run(uv, "export", "--quiet", "--frozen", "--all-extras", "--no-emit-project", "--output-file", wanted)
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", wanted)
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
        run(*compiled)


def main(venv: Path, uv_version: str, stamp: Path) -> None:
    """Set up under a lock, so that two commands started at once do it once."""
    with Path("uv.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = inputs_digest(venv, uv_version)
        if stamp.exists() and stamp.read_text() == digest:
            stamp.touch()
            return
        began = time.monotonic()
        print(f"Setting up {venv} (once; about 1.5 GB, a minute or a few) ...", flush=True)  # noqa: T201
        if not usable(venv):
            (venv / "bin/python").unlink(
                missing_ok=True
            )  # first, so that half a removal is not taken for an environment
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        stamp.unlink(missing_ok=True)
        (venv / ".unfinished").touch()
        install(venv, uv_version)
        (venv / ".unfinished").unlink()
        stamp.write_text(digest)
        print(f"Set up in {time.monotonic() - began:.0f} s.", flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"set-up stopped: {error}; mend that and run the same command again")
    except KeyboardInterrupt:
        sys.exit("set-up stopped; run the same command again and it starts clean")
