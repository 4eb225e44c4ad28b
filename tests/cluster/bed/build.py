"""Build the bed once: Debian packages, Go programs, the node's images. Nothing here is made again while it fits."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.cluster.bed import layout
from tests.cluster.bed.configs import SANDBOX
from tests.cluster.bed.daemons import run

DEBIAN = (
    "buildah",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "debootstrap",
    "ethtool",
    "iproute2",
    "iptables",
    "runc",
)
KUBERNETES = "v1.34.4"
KSERVE = "v0.20.0"
KSERVE_SUM = "h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug="
"""What the checksum database says of KServe's module; every other module's sums are in `modules/*/go.sum`."""

_VERSION = "k8s.io/component-base/version"
_STAMPED = f"-s -w -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34"
_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")


def build() -> None:
    """Build whatever is missing or out of date; about twelve minutes on two cores when nothing is there."""
    layout.make_folders()
    _debian()
    commands = [f"k8s.io/kubernetes/cmd/{part}" for part in _PARTS]
    _go("etcd", ["go.etcd.io/etcd/server/v3"], "etcd")
    _go("kubernetes", commands, "", f"{_STAMPED} -X {_VERSION}.gitTreeState=clean")
    _go("coredns", ["."], "coredns")
    _go("pause", ["."], "pause")
    _kserve()
    _node_images()


def _debian() -> None:
    listed = run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *DEBIAN, check=False)
    missing = sorted(set(DEBIAN) - {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")})
    if missing:
        _say(f"Debian packages: {', '.join(missing)}")
        run("apt-get", "update", "-q")
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get", "install", "-q", "-y", "--no-install-recommends", *missing)


def _go(module: str, packages: list[str], target: str, link: str = "-s -w") -> None:
    """Build the commands of one of `modules/`, whose go.mod and go.sum pin every source by version and checksum."""
    folder = layout.SOURCES / module
    sources = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    _once(module, sources + link.encode(), partial(_compile, folder, packages, target, link))


def _compile(folder: Path, packages: list[str], target: str, link: str) -> None:
    command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", link, "-o", f"{layout.BIN}/{target}"]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    subprocess.run(["nice", *command, *packages], cwd=folder, check=True, env=environment)


def kserve_source() -> Path:
    """KServe's module, downloaded and held against its checksum.

    Raises:
        RuntimeError: It is not what it was when this was written.
    """
    found = json.loads(run("go", "mod", "download", "-json", f"github.com/kserve/kserve@{KSERVE}"))
    if found["Sum"] != KSERVE_SUM:
        raise RuntimeError(f"KServe {KSERVE} should have the checksum {KSERVE_SUM}, and has {found['Sum']}")
    return Path(found["Dir"])


def _kserve() -> None:
    source = kserve_source()
    for command in ("manager", "agent"):
        target = f"kserve-{command}"
        _once(target, KSERVE_SUM.encode(), partial(_compile, source, [f"./cmd/{command}"], target, "-s -w"))


def _node_images() -> None:
    """The images that the node itself and KServe need; each is one static program."""
    for name, place in (("pause", "/pause"), ("kserve-manager", "/manager"), ("kserve-agent", "/ko-app/agent")):
        tag = SANDBOX if name == "pause" else f"{layout.REGISTRY}/{name}:1"
        binary = layout.BIN / name
        stamp = str(binary.stat().st_mtime_ns).encode()
        _once(f"image-{name}", stamp, partial(_image, binary, tag, place))


def _image(binary: Path, tag: str, place: str) -> None:
    text = f'FROM scratch\nCOPY {binary.name} {place}\nUSER 65532:65532\nENTRYPOINT ["{place}"]\n'
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "Containerfile"
        file.write_text(text, encoding="ascii")
        run(*buildah("bud", "--isolation", "chroot", "-f", str(file), "-t", tag, str(binary.parent)))
    save_image(tag, binary.name)


def buildah(*command: str) -> list[str]:
    """Debian's buildah with its store among what the bed keeps."""
    return ["buildah", "--root", f"{layout.CACHE}/buildah", "--runroot", f"{layout.CACHE}/buildah-run", *command]


def save_image(tag: str, name: str) -> Path:
    """Write an image of buildah's store as an archive that the node imports."""
    archive = layout.IMAGES / f"{name}.tar"
    beside = archive.with_suffix(".new")
    beside.unlink(missing_ok=True)
    run(*buildah("push", tag, f"docker-archive:{beside}:{tag}"))
    beside.replace(archive)
    return archive


def _once(name: str, inputs: bytes, work: Callable[[], None]) -> None:
    stamp = layout.CACHE / "stamps" / name
    digest = hashlib.sha256(inputs).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return
    began = time.monotonic()
    _say(f"building {name}")
    work()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest, encoding="ascii")
    _say(f"built {name} in {time.monotonic() - began:.0f} s")


def _say(text: str) -> None:
    sys.stderr.write(f"bed: {text}\n")
