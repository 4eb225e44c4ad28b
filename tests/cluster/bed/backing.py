"""What a cluster's Site keeps its state in: PostgreSQL and an S3, beside the pods in the bed's network namespace."""

import shutil
import sys
import urllib.request
from pathlib import Path

from tests.cluster.bed import layout
from tests.cluster.bed.daemons import inside, run, start, wait_for

SQL = f"postgresql://kubeloop@{layout.NODE_IP}:5432/postgres"
S3 = f"http://{layout.NODE_IP}:9000"
DAEMONS = ("postgres", "moto")

_POSTGRES = Path("/usr/lib/postgresql/15/bin")
_USER = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
"""PostgreSQL refuses to run as root."""


def up() -> None:
    """Start both; whoever reaches the node is let in, which is this machine and the bed's pods."""
    if not layout.DATABASE.exists():
        layout.DATABASE.mkdir(parents=True)
        shutil.chown(layout.DATABASE, "postgres", "postgres")
        words = ("-D", str(layout.DATABASE), "-U", "kubeloop", "-A", "trust", "--no-sync")
        run(*_USER, str(_POSTGRES / "initdb"), *words)
        with (layout.DATABASE / "pg_hba.conf").open("a", encoding="ascii") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")
    settings = [f"listen_addresses={layout.NODE_IP}", "unix_socket_directories=", "fsync=off", "max_connections=60"]
    flags = [word for item in settings for word in ("-c", item)]
    start("postgres", [*_USER, str(_POSTGRES / "postgres"), "-D", str(layout.DATABASE), *flags])
    start("moto", [sys.executable, "-m", "moto.server", "-H", layout.NODE_IP, "-p", "9000"])
    asked = [str(_POSTGRES / "pg_isready"), "-h", layout.NODE_IP, "-q"]
    wait_for("PostgreSQL", lambda: run(*inside(*asked)) == "")
    wait_for("S3", _s3_answers)


def _s3_answers() -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{S3}/moto-api/data.json", timeout=5) as answer:
        return bool(answer.status == 200)
