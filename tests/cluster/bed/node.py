"""Bring the bed up and take it down: etcd, control plane, containerd, kubelet, kube-proxy, DNS."""

import json
import shutil
import ssl
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from tests.cluster.bed import backing, configs, layout, network, pki
from tests.cluster.bed.archives import ctr, load_images
from tests.cluster.bed.daemons import alive, end_process, inside, run, start, stop, timed, wait_for

ETCD = "http://127.0.0.1:2379"
# The last first, so that nothing is restarted by a part that should be gone.
_DAEMONS = (
    *backing.DAEMONS,
    "kubelet",
    "kube-proxy",
    "coredns",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
    "containerd",
)
# What kubelet and containerd write outside of where they are told to.
_STRAYS = ("/var/log/containers", "/var/lib/cni/results", "/var/lib/kubelet/device-plugins", "/run/containerd/s")


def up() -> None:
    """Start what does not run; returns when the node is ready."""
    layout.make_folders()
    network.make()
    pki.make()
    with timed("etcd, API server, controllers"):
        _etcd()
        api_server()
        _control_plane()
    with timed("containerd"):
        _containerd()
    with timed("images into containerd"):
        load_images()
    with timed("kubelet, PostgreSQL, S3"):
        _node()
        backing.up()
        wait_for("a ready node", _node_is_ready)


def _etcd() -> None:
    peer = "http://127.0.0.1:2380"
    flags = {"name": "bed", "data-dir": layout.STATE / "etcd", "listen-client-urls": ETCD}
    flags |= {"advertise-client-urls": ETCD, "listen-peer-urls": peer, "initial-advertise-peer-urls": peer}
    flags |= {"initial-cluster": f"bed={peer}"}
    # A bed that dies with its machine is built anew: no write need reach the disk before it is answered.
    start("etcd", [str(layout.BIN / "etcd"), "--unsafe-no-fsync", *_flags(flags)])
    wait_for("etcd", lambda: run(*inside("curl", "-sf", f"{ETCD}/health")))


def api_server() -> None:
    """Start the API server alone and wait until it is ready; a test of restarts calls this, too."""
    keys = layout.PKI
    flags = {
        "etcd-servers": ETCD,
        "bind-address": layout.NODE_IP,
        "advertise-address": layout.NODE_IP,
        "secure-port": 6443,
        "tls-cert-file": keys / "apiserver.crt",
        "tls-private-key-file": keys / "apiserver.key",
        "client-ca-file": pki.CA,
        "kubelet-client-certificate": keys / "apiserver-kubelet.crt",
        "kubelet-client-key": keys / "apiserver-kubelet.key",
        "kubelet-certificate-authority": pki.CA,
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-key-file": keys / "sa.pub",
        "service-account-signing-key-file": keys / "sa.key",
        "service-account-issuer": f"https://kubernetes.default.svc.{layout.DOMAIN}",
        "service-cluster-ip-range": layout.SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "endpoint-reconciler-type": "lease",
        "allow-privileged": "true",
        "audit-policy-file": configs.audit_policy(),
        "audit-log-path": layout.AUDIT_LOG,
        "audit-log-maxsize": 10_000,  # megabytes; else it begins anew after 100, and a test reads half of it
    }
    frugal = {"GOGC": "50", "GOMEMLIMIT": "900MiB"}
    start("kube-apiserver", [str(layout.BIN / "kube-apiserver"), *_flags(flags)], frugal)
    wait_for("the API server", lambda: _get("/readyz") == b"ok")


def _control_plane() -> None:
    keys = layout.PKI
    common: dict[str, object] = {"bind-address": "127.0.0.1", "leader-elect": "false"}
    flags = common | {"kubeconfig": keys / "controller-manager.kubeconfig", "root-ca-file": pki.CA}
    flags |= {"service-account-private-key-file": keys / "sa.key", "use-service-account-credentials": "true"}
    flags |= {"cluster-signing-cert-file": pki.CA, "cluster-signing-key-file": keys / "ca.key"}
    start("kube-controller-manager", [str(layout.BIN / "kube-controller-manager"), *_flags(flags)])
    flags = common | {"kubeconfig": keys / "scheduler.kubeconfig"}
    start("kube-scheduler", [str(layout.BIN / "kube-scheduler"), *_flags(flags)])
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait_for("the default ServiceAccount", lambda: _get(account))


def _containerd() -> None:
    configs.cni()
    start("containerd", ["containerd", "--config", str(configs.containerd())])
    # It answers before its CRI service does, and a kubelet that comes in between gives up.
    wait_for("containerd", lambda: ctr("version"))


def _node() -> None:
    keys = layout.PKI
    flags = {"config": configs.kubelet(), "kubeconfig": keys / "kubelet.kubeconfig", "node-ip": layout.NODE_IP}
    flags |= {"hostname-override": layout.NODE, "root-dir": layout.STATE / "kubelet"}
    flags |= {"cert-dir": layout.STATE / "kubelet-pki"}

    def healthy() -> bool:
        start("kubelet", [str(layout.BIN / "kubelet"), *_flags(flags)])  # again, where containerd was not ready yet
        return bool(run(*inside("curl", "-sf", "http://127.0.0.1:10248/healthz")))

    wait_for("the kubelet", healthy)  # a Ready in the API may be of the last time
    start("kube-proxy", [str(layout.BIN / "kube-proxy"), *_flags({"config": configs.kube_proxy()})])
    start("coredns", [str(layout.BIN / "coredns"), "-conf", str(configs.coredns())])


def down() -> None:
    """End pods and daemons, and leave no process, mount, namespace, route or rule; what was built stays.

    containerd's images are of what was built: a bed that comes up again imports only what has changed.
    """
    stop("kubelet")
    if alive("containerd"):
        _end_pods()
    for name in _DAEMONS:
        stop(name)
    for pid in _shims():
        end_process(pid)
    _unmount()
    network.remove()
    _remove_cgroups()
    for place in _STRAYS:
        shutil.rmtree(place, ignore_errors=True)
    for folder in (layout.STATE, layout.CLAIMS, layout.DATABASE):
        shutil.rmtree(folder, ignore_errors=True)


def _end_pods() -> None:
    for task in ctr("tasks", "ls", "-q", check=False).split():
        ctr("tasks", "kill", "-s", "SIGKILL", task, check=False)
    with suppress(TimeoutError):
        wait_for("the end of all pods", lambda: "RUNNING" not in ctr("tasks", "ls"), 15)
    for container in ctr("containers", "ls", "-q", check=False).split():
        ctr("tasks", "rm", "-f", container, check=False)
        ctr("containers", "rm", container, check=False)


def _shims() -> list[int]:
    """containerd's own helpers of this bed, one for a pod, which outlive it by design."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if words and "containerd-shim" in words[0] and str(layout.CONTAINERD) in words:
            found.append(process.info["pid"])
    return found


def _unmount() -> None:
    table = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    ours = [
        line.split()[1] for line in table if line.split()[1].startswith(f"{layout.CACHE}/")
    ]  # a build that was killed, too
    for place in sorted(ours, reverse=True):
        run("umount", place, check=False)


def _remove_cgroups() -> None:
    for top in (*Path("/sys/fs/cgroup").glob("*/kubepods"), Path("/sys/fs/cgroup/kubepods")):
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            top.rmdir()


def left() -> list[str]:
    """What is still there of the bed, a line each; empty after `down`."""
    found = [f"process {name}" for name in _DAEMONS if alive(name)]
    found += [f"process {pid} (containerd-shim)" for pid in _shims()]
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    found += [f"mount {line.split()[1]}" for line in mounts if str(layout.CACHE) in line or "/run/netns" in line]
    found += [f"namespace {line}" for line in run("ip", "netns", "list", check=False).splitlines()]
    links = run("ip", "-o", "link", "show", check=False).splitlines()
    found += [f"link {line.split()[1]}" for line in links if layout.HOST_LINK in line or "klbr0" in line]
    routes = run("ip", "route", "show", check=False).splitlines()
    found += [f"route {line}" for line in routes if layout.NODE_IP in line or layout.HOST_LINK in line]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("*/kubepods")]
    return found


def memory() -> dict[str, int]:
    """Resident bytes of every daemon that runs."""
    sizes = {}
    for name in _DAEMONS:
        if alive(name):
            pid = int((layout.PIDS / name).read_text(encoding="ascii").partition(":")[0])
            sizes[name] = psutil.Process(pid).memory_info().rss
    return sizes


def _node_is_ready() -> bool:
    node = json.loads(_get(f"/api/v1/nodes/{layout.NODE}"))
    ready = [item for item in node["status"]["conditions"] if item["type"] == "Ready"]
    return bool(ready) and ready[0]["status"] == "True"


def _get(path: str) -> bytes:
    """Ask the API server as its administrator; errors of HTTP are OSErrors."""
    context = ssl.create_default_context(cafile=str(pki.CA))
    context.load_cert_chain(layout.PKI / "admin.crt", layout.PKI / "admin.key")
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    with urllib.request.build_opener(*handlers).open(f"https://{layout.NODE_IP}:6443{path}", timeout=5) as answer:
        return bytes(answer.read())


def _flags(values: "dict[str, object]") -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def restart_api_server() -> float:
    """End the API server and start it again; gives the seconds until it was ready."""
    began = time.monotonic()
    stop("kube-apiserver")
    api_server()
    return time.monotonic() - began
