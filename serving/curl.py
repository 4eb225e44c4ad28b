"""The command lines that `kubeloop serve` shows: they work as they stand."""

import json
import shlex
from typing import Any

from kubeloop.packaging.manifest import Manifest
from kubeloop.serving.process import HOST


def ask_command(port: int, name: str, manifest: Manifest) -> str:
    """Ask a model of this machine for a golden row, by column name."""
    row = dict(zip([feature.name for feature in manifest.features], manifest.golden.requests[0], strict=True))
    return _post(f"http://{HOST}:{port}/v1/models/{name}:predict", {"instances": [row]})


def label_command(sink: str, namespace: str, name: str, manifest: Manifest) -> str:
    """Tell what came true of an answer, whose id is still to be filled in.

    Args:
        sink: URL of the sink.
        namespace: Of the Site.
        name: The model.
        manifest: What it answers.
    """
    golden = manifest.golden
    value = golden.labels[0] if golden.labels else 1.5
    return _post(
        f"{sink}/labels",
        {"namespace": namespace, "service": name, "labels": [{"event_id": "X-REQUEST-ID", "value": value}]},
    )


def _post(url: str, body: dict[str, Any]) -> str:
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
