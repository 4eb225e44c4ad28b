"""One network namespace for all of the bed, joined to this machine by one link; nothing in it can reach further."""

from pathlib import Path

from tests.cluster.bed import layout
from tests.cluster.bed.daemons import inside, run

_PLACE = Path("/run/netns")


def make() -> None:
    """Make the namespace, its link and the routes to pods and Services; nothing where they are there."""
    if (_PLACE / layout.NETNS).exists():
        return
    run("ip", "netns", "add", layout.NETNS)
    run("ip", "link", "add", layout.HOST_LINK, "type", "veth", "peer", "name", layout.NODE_LINK, "netns", layout.NETNS)
    run("ip", "addr", "add", f"{layout.HOST_IP}/30", "dev", layout.HOST_LINK)
    run("ip", "link", "set", layout.HOST_LINK, "up")
    for network in (layout.SERVICES, layout.PODS):
        run("ip", "route", "replace", network, "via", layout.NODE_IP)
    for command in (
        "link set lo up",
        f"addr add {layout.NODE_IP}/30 dev {layout.NODE_LINK}",
        f"link set {layout.NODE_LINK} up",
        # A cluster IP needs some route before kube-proxy's rules rewrite it; everything else ends here.
        f"route add {layout.SERVICES} via {layout.HOST_IP}",
        "route add unreachable default",
    ):
        run(*inside("ip", *command.split()))
    run(*inside("sysctl", "-qw", "net.ipv4.ip_forward=1"))
    # Without it a pod cannot reach a Service whose pod is its neighbour; some kernels have no such switch.
    run(*inside("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"), check=False)


def remove() -> None:
    """Take the namespaces of the bed and of its pods away, with link, routes and rules."""
    listed = run("ip", "netns", "list", check=False)
    for line in listed.splitlines():
        name = line.split()[0]
        if name == layout.NETNS or name.startswith("cni-"):
            run("ip", "netns", "del", name, check=False)
    run("ip", "link", "del", layout.HOST_LINK, check=False)
    if _PLACE.is_dir() and not any(_PLACE.iterdir()):
        run("umount", str(_PLACE), check=False)
