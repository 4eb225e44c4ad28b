"""The configuration files of the bed's processes."""

import json
from pathlib import Path

import yaml

from tests.cluster.bed import layout
from tests.cluster.bed.pki import CA

SANDBOX = f"{layout.REGISTRY}/pause:1"


def put(file: Path, text: str) -> Path:
    """Write a file only where it differs: kube-proxy ends when its configuration is rewritten."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file


def containerd() -> Path:
    """containerd 1.6 with runc; its images outlive the bed, its sockets and pods do not."""
    state = layout.STATE
    return put(
        layout.CONFIG / "containerd.toml",
        f"""version = 2
root = "{layout.NODE_IMAGES}"
state = "{state}/containerd-run"
oom_score = 0
[grpc]
  address = "{layout.CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{SANDBOX}"
  # A machine without CAP_SYS_RESOURCE may not lower a score.
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{layout.CONFIG}/cni"
""",
    )


def cni() -> Path:
    """One bridge for all pods."""
    ranges = {"type": "host-local", "dataDir": f"{layout.STATE}/ipam", "ranges": [[{"subnet": layout.PODS}]]}
    bridge = {"type": "bridge", "bridge": "klbr0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    plugin = {**bridge, "ipam": {**ranges, "routes": [{"dst": "0.0.0.0/0"}]}}
    document = {"cniVersion": "0.4.0", "name": "bed", "plugins": [plugin]}
    return put(layout.CONFIG / "cni/10-bed.conflist", json.dumps(document))


def kubelet() -> Path:
    """The kubelet, on cgroup v1 or v2, keeping its images and leaving the machine's own processes alone."""
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.NODE_IP,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(CA)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.PKI / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.PKI / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [layout.NODE_IP],
        "clusterDomain": layout.DOMAIN,
        "resolvConf": str(_resolv()),
        "containerRuntimeEndpoint": f"unix://{layout.CONTAINERD}",
        "enforceNodeAllocatable": [],
        "imageMinimumGCAge": "8760h",
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "2%"},
        "podLogsDir": str(layout.STATE / "podlogs"),
    }
    return put(layout.CONFIG / "kubelet.yaml", yaml.safe_dump(document))


def _resolv() -> Path:
    return put(layout.CONFIG / "resolv.conf", f"nameserver {layout.NODE_IP}\n")


def kube_proxy() -> Path:
    """kube-proxy by iptables; conntrack's limits belong to the machine."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": layout.PODS,
        "hostnameOverride": layout.NODE,
        "clientConnection": {"kubeconfig": str(layout.PKI / "proxy.kubeconfig")},
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
        "conntrack": {"maxPerCore": 0},
    }
    return put(layout.CONFIG / "kube-proxy.yaml", yaml.safe_dump(document))


def coredns() -> Path:
    """Names of Services; there is nowhere to forward any other name to."""
    return put(
        layout.CONFIG / "Corefile",
        f""".:53 {{
  bind {layout.NODE_IP}
  errors
  kubernetes {layout.DOMAIN} in-addr.arpa {{
    kubeconfig {layout.PKI}/coredns.kubeconfig bed
    ttl 5
  }}
}}
""",
    )


def audit_policy() -> Path:
    """Who did what to which object; the chatter of the cluster's own parts is left out."""
    own = [f"system:{name}" for name in ("apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")]
    document = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": [*own, "coredns"]},
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
            {"level": "None", "userGroups": ["system:serviceaccounts:kserve"]},
            {"level": "Metadata"},
        ],
    }
    return put(layout.CONFIG / "audit-policy.yaml", yaml.safe_dump(document))
