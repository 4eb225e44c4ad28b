"""Bring a Kubernetes of one node up and down: `python -m tests.cluster.bed up`, `down`, `status`."""

import argparse
import os
import sys
import time

from tests.cluster.bed import layout
from tests.cluster.bed.build import build
from tests.cluster.bed.daemons import timed
from tests.cluster.bed.kserve import install
from tests.cluster.bed.node import down, left, memory, up

ROOT_NEEDED = "bed: namespaces and mounts need root: run it as root, or use kind (see tests/cluster/README.md)\n"
CLEAN = "nothing is left: no process, mount, namespace, link, route, cgroup"


def main() -> int:
    """Do what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.bed", description=__doc__)
    parser.add_argument("command", choices=["build", "up", "down", "status", "kubeconfig"])
    command = parser.parse_args().command
    if command == "kubeconfig":
        sys.stdout.write(f"{layout.KUBECONFIG}\n" if layout.KUBECONFIG.exists() else "")
        return 0
    if os.geteuid() != 0:
        sys.stderr.write(ROOT_NEEDED)
        return 2
    began = time.monotonic()
    if command in ("build", "up"):
        build()
    if command == "up":
        began = time.monotonic()
        up()
        with timed("KServe"):
            install()
        sys.stdout.write(f"up in {time.monotonic() - began:.0f} s\nexport KUBECONFIG={layout.KUBECONFIG}\n")
    if command == "down":
        down()
    if command in ("down", "status"):
        lines = left()
        sys.stdout.write("\n".join(lines or [CLEAN]) + "\n")
    if command in ("up", "status"):
        for name, size in memory().items():
            sys.stdout.write(f"{name:<24} {size / 1e6:6.0f} MB\n")
    return 1 if command == "down" and lines else 0


if __name__ == "__main__":
    sys.exit(main())
