"""A PostgreSQL of our own, to be killed; its syncs are on."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ports import free_port


class Postgres:
    """A server on a port of its own.

    Attributes:
        url: Of its database.
    """

    def __init__(self) -> None:
        if not shutil.which("initdb"):
            pytest.skip("no PostgreSQL server is installed")
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="kubeloop-pg-"))
        self._folder.chmod(0o755)
        user = {"user": "nobody"} if os.getuid() == 0 else {}
        if user:
            shutil.chown(self._folder, "nobody")
        self._run: dict[str, Any] = {"check": True, "cwd": self._folder, **user}
        self._quiet: dict[str, Any] = {**self._run, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["initdb", "-D", self._folder / "db", "-U", "kubeloop", "-A", "trust"], **self._quiet)
        self.url = f"postgresql://kubeloop@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self) -> None:
        """Start it, after a crash too, and wait until it answers."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        command: list[str | Path] = ["pg_ctl", "-D", self._folder / "db", "-o", options]
        subprocess.run([*command, "-l", self._folder / "log", "-w", "-t", "240", "start"], **self._quiet)

    def kill(self) -> None:
        """SIGKILL to the server and all its children at once."""
        pid = int((self._folder / "db" / "postmaster.pid").read_text().split()[0])
        server = psutil.Process(pid)
        family = [server, *server.children(recursive=True)]
        for process in family:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=180)

    def remove(self) -> None:
        """End it and remove its files."""
        subprocess.run(
            ["pg_ctl", "-D", self._folder / "db", "-m", "immediate", "stop"], **{**self._quiet, "check": False}
        )
        shutil.rmtree(self._folder, ignore_errors=True)
