"""Where the bed keeps what it builds and runs, and the addresses of its one node."""

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubeloop-bed"
"""Outside every tree: what is built once stays for the next checkout."""

BIN = CACHE / "bin"
IMAGES = CACHE / "images"
NODE_IMAGES = CACHE / "containerd"
"""containerd's own store: images imported and unpacked, which the next bed finds as they are."""

STATE = CACHE / "state"
PKI = STATE / "pki"
LOGS = STATE / "log"
PIDS = STATE / "pids"
CONFIG = STATE / "config"
CLAIMS = Path("/var/lib/kubeloop-bed")
"""What a test writes here, a pod finds in its claim, at the same path; so it is none that only root may enter."""

DATABASE = Path("/var/lib/kubeloop-bed-sql")
"""PostgreSQL's files; it does not run as root, so they are not below root's home."""

KUBECONFIG = PKI / "admin.kubeconfig"
AUDIT_LOG = STATE / "audit.log"
CONTAINERD = STATE / "containerd.sock"

NETNS = "kubeloop-bed"
HOST_LINK, NODE_LINK = "klbed0", "klbed1"
HOST_IP, NODE_IP = "10.251.0.1", "10.251.0.2"
"""The two ends of the only link between this machine and the bed."""

PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
NODE = "bed"
DOMAIN = "cluster.local"

SOURCES = Path(__file__).parent / "modules"
REGISTRY = "bed.local"
"""The name before every image here; nothing answers to it, so nothing is ever pulled."""


def make_folders() -> None:
    """Make them all."""
    for folder in (BIN, IMAGES, PKI, LOGS, PIDS, CONFIG, CLAIMS):
        folder.mkdir(parents=True, exist_ok=True)
