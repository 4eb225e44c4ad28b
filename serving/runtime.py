"""The ServingRuntime: `modelFormat: {name: kubeloop}` on a cluster starts this predictor on whatever storageUri holds.

python -m kubeloop.serving.runtime --image IMAGE [--cluster] prints the manifest for `kubectl apply -f -`

KServe mounts or downloads the package to /mnt/models and fills the InferenceService's name in.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

FORMAT = "kubeloop"
FORMAT_VERSION = "1"
MODELS = "/mnt/models"
PORT = 8080
GRPC_PORT = 8081


def serving_runtime(image: str, name: str = FORMAT, *, cluster: bool = False) -> dict[str, Any]:
    """The manifest of a ServingRuntime, or of a ClusterServingRuntime.

    Args:
        image: The predictor's image.
        name: Name of the runtime.
        cluster: For all namespaces.

    Returns:
        The manifest as JSON types; `serving.kserve.io/v1alpha1`.
    """
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime" if cluster else "ServingRuntime",
        "metadata": {"name": name},
        "spec": {
            "annotations": {"prometheus.kserve.io/port": str(PORT), "prometheus.kserve.io/path": "/metrics"},
            "supportedModelFormats": [
                {"name": FORMAT, "version": FORMAT_VERSION, "autoSelect": True, "priority": 1},
            ],
            "protocolVersions": ["v1", "v2"],
            "containers": [_container(image)],
            # Whose signatures are trusted; without it, as on a laptop, unsigned packages are loaded and said to be.
            "volumes": [
                {"name": "site", "configMap": {"name": "kubeloop", "optional": True}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    }


def _container(image: str) -> dict[str, Any]:
    command = ["python", "-m", "kubeloop.serving.predictor"]
    arguments = ["--package", MODELS, "--name", "{{.Name}}", "--http-port", str(PORT), "--grpc-port", str(GRPC_PORT)]
    return {
        "name": "kserve-container",
        "image": image,
        "command": command,
        "args": arguments,
        "ports": [{"containerPort": PORT, "name": "http1", "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        # Over HTTP: KServe's logger cannot be attached to a container with an exec probe.
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": PORT}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/v2/health/live", "port": PORT}, "periodSeconds": 10},
        # Until the endpoint has left every proxy's table, requests still come.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "8"]}}},
        "volumeMounts": [
            {"name": "site", "mountPath": "/etc/kubeloop/site", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container, whose root is read-only
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def main(arguments: Sequence[str]) -> int:
    """Print the manifest; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kubeloop.serving.runtime", description=__doc__)
    parser.add_argument("--image", required=True, help="the predictor's image, by digest")
    parser.add_argument("--cluster", action="store_true", help="a ClusterServingRuntime, for all namespaces")
    chosen = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(serving_runtime(chosen.image, cluster=chosen.cluster), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
