"""Build the bed once: Debian packages, Go programs, the node's images. Nothing here is made again while it fits."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.cluster.bed import layout
from tests.cluster.bed.configs import SANDBOX
from tests.cluster.bed.daemons import run, say, timed

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
    "postgresql-15",
    "runc",
)
KUBERNETES = "v1.34.4"
KSERVE = "v0.20.0"
KSERVE_SUM = "h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug="
"""What the checksum database says of KServe's module; every other module's sums are in `modules/*/go.sum`."""

_VERSION = "k8s.io/component-base/version"
_STAMPED = f"-s -w -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34"
_ROOT = Path(__file__).resolve().parents[3]
_BASE = "localhost/kubeloop-base:bookworm"
_BASE_PACKAGES = ("python3", "ca-certificates", "libgomp1")
_DIES_LATE = f"""FROM {_BASE}
USER 1000:1000
ENTRYPOINT ["sh", "-c", "sleep 30; echo the disk is gone >&2; exit 7"]
"""
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
    environments()


def _debian() -> None:
    listed = run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *DEBIAN, check=False)
    missing = sorted(set(DEBIAN) - {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")})
    if missing:
        say(f"Debian packages: {', '.join(missing)}")
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
    _bud(text, tag, binary.parent)
    save_image(tag, binary.name)


def environments() -> None:
    """Kubeloop's own images from `images/`, on a base made of Debian's packages, where no registry need be asked."""
    _once("base", " ".join(_BASE_PACKAGES).encode(), _base)
    for name in ("predictor", "pipeline", "detector"):
        _once(f"image-{name}", _sources(name), partial(_environment, name))
    _once("image-dies-late", _DIES_LATE.encode(), _dies_late)


def _sources(name: str) -> bytes:
    """All that an image of ours is made of."""
    linked = [item.resolve().name for item in (_ROOT / "kubeloop").iterdir() if item.is_symlink()]
    shared = ("pyproject.toml", "uv.lock", "images/install.sh", "images/sbom.py")
    listed = run("git", "-C", str(_ROOT), "ls-files", "-z", "--", "kubeloop", *linked, *shared)
    files = [_ROOT / item for item in sorted(filter(None, listed.split("\0")))]
    files.append(_ROOT / "images" / name / "Containerfile")
    return b"\0".join(file.read_bytes() for file in files if file.is_file())


def _environment(name: str) -> None:
    script = str(_ROOT / "images/build.py")
    store = ("--root", f"{layout.CACHE}/buildah", "--registry", layout.REGISTRY)
    said = run("nice", sys.executable, script, name, "--base", _BASE, *store)
    save_image(json.loads(said)["image"], name)


def _base() -> None:
    """Debian with its Python 3.11, from the mirror that this machine itself uses."""
    root = layout.CACHE / "rootfs"
    shutil.rmtree(root, ignore_errors=True)
    mirror = next(line.split()[1] for line in _apt_sources() if line.startswith(("URIs:", "deb ")))
    run("debootstrap", "--variant=minbase", f"--include={','.join(_BASE_PACKAGES)}", "bookworm", str(root), mirror)
    for place in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / place, ignore_errors=True)
    # Whose mirror that was is nobody's business.
    for file in ("etc/apt/sources.list", "etc/resolv.conf", "etc/hostname", "var/log/bootstrap.log"):
        (root / file).unlink(missing_ok=True)
    for node in ("dev", "proc", "sys"):
        shutil.rmtree(root / node, ignore_errors=True)
        (root / node).mkdir()
    _bud("FROM scratch\nCOPY . /\n", _BASE, root)
    shutil.rmtree(root)


def _apt_sources() -> list[str]:
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]
    return [line for file in files if file.is_file() for line in file.read_text(encoding="utf-8").splitlines()]


def _dies_late() -> None:
    """For a test: whatever it is told, it ends after half a minute."""
    _bud(_DIES_LATE, f"{layout.REGISTRY}/dies-late:1", layout.BIN)
    save_image(f"{layout.REGISTRY}/dies-late:1", "dies-late")


def _bud(text: str, tag: str, context: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "Containerfile"
        file.write_text(text, encoding="ascii")
        run(*buildah("bud", "--isolation", "chroot", "-f", str(file), "-t", tag, str(context)))


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
    say(f"building {name}")
    with timed(f"built {name}"):
        work()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest, encoding="ascii")
