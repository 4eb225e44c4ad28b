import multiprocessing
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kubeloop.site import laptop
from tests.ports import free_port


def _postgres(folder: Path, port: int):
    user = {"user": "nobody"} if os.getuid() == 0 else {}
    if user:
        shutil.chown(folder, "nobody")
    run: dict[str, Any] = dict(check=True, capture_output=True, cwd=folder, **user)
    subprocess.run(["initdb", "-D", str(folder / "db"), "-U", "kubeloop", "-A", "trust", "--no-sync"], **run)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    subprocess.run(
        ["pg_ctl", "-D", str(folder / "db"), "-o", options, "-l", str(folder / "log"), "-w", "start"],
        **{**run, "capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
    )
    return lambda: subprocess.run(["pg_ctl", "-D", str(folder / "db"), "-m", "immediate", "stop"], **run)


@pytest.fixture(scope="session")
def postgres_url():
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    if not shutil.which("initdb"):
        pytest.skip("no PostgreSQL server is installed")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="kubeloop-pg-"))
    folder.chmod(0o755)
    stop = _postgres(folder, port)
    yield f"postgresql://kubeloop@127.0.0.1:{port}/postgres"
    stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request, tmp_path):
    """A fresh Site on either database: one test body for both."""
    found = laptop(tmp_path / "home")
    if request.param == "sqlite":
        return found
    import sqlalchemy as sa

    url = request.getfixturevalue("postgres_url")
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return found.model_copy(update={"sql": url})


@pytest.fixture
def together():
    """Run `work(number)` in that many processes at the same moment; their exit codes."""

    def run(count, work):
        fork = multiprocessing.get_context("fork")
        barrier = fork.Barrier(count)

        def body(number):
            barrier.wait()
            work(number)

        processes = [fork.Process(target=body, args=(number,)) for number in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        return [process.exitcode for process in processes]

    return run
