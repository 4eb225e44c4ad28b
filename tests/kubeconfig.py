"""How a client finds an API server that a test plays on this machine."""

from http.server import ThreadingHTTPServer
from pathlib import Path

import yaml


def write_kubeconfig(path: Path, server: ThreadingHTTPServer) -> Path:
    """Write a kubeconfig of a server, with a token that it need not know; gives the path."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "fake", "user": {"token": "t"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    }
    path.write_text(yaml.safe_dump(document), encoding="ascii")
    return path
