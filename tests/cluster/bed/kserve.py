"""Install KServe in Standard mode from its own kustomize tree, with the bed's image, certificate and no ingress."""

import base64
import json
from typing import Any

import yaml

from tests.cluster.bed import layout, pki
from tests.cluster.bed.build import kserve_source
from tests.cluster.bed.daemons import run, wait_for

NAMESPACE = "kserve"
_HOOK = "kserve-webhook-server-service.kserve.svc"
_AGENT = {"image": f"{layout.REGISTRY}/kserve-agent:1"}
# Keys of the ConfigMap, and what the bed says differently there; the injected agent's image is that of `agent`.
_SETTINGS: dict[str, dict[str, Any]] = {
    "deploy": {"defaultDeploymentMode": "Standard"},
    "ingress": {"disableIngressCreation": True, "disableIstioVirtualHost": True},
    "agent": _AGENT,
    "logger": _AGENT,
    "batcher": _AGENT,
}
_PROBE = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "probe", "namespace": "default"},
    "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "none:1"}]}},
}


def install() -> None:
    """Apply KServe and wait until its webhook answers; a second time changes nothing."""
    rendered = layout.CACHE / "stamps" / "kserve.yaml"
    if not rendered.exists():
        rendered.write_text(run("kubectl", "kustomize", str(kserve_source() / "config/default")), encoding="utf-8")
    documents = [_settings(), *(fit(item) for item in yaml.load_all(rendered.read_text(), yaml.CSafeLoader) if item)]
    kept = [item for item in documents if item["kind"] not in ("Certificate", "Issuer")]
    hooks = [item for item in kept if item["kind"].endswith("WebhookConfiguration")]
    kinds = [item for item in kept if item["kind"] == "CustomResourceDefinition"]
    rest = [item for item in kept if item not in hooks and item not in kinds]
    _apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, _certificate(), *kinds])
    # A controller that starts before its kinds are known ends at once, and is kept waiting by its own back-off.
    # A kind that is a moment old has no conditions yet, and `kubectl wait` then fails at once.
    established = ("kubectl", "wait", "--for=condition=Established", "crd/inferenceservices.serving.kserve.io")
    wait_for("KServe's kinds", lambda: run(*established, "--timeout=10s"))
    _apply(rest)
    run("kubectl", "-n", NAMESPACE, "rollout", "status", "deploy/kserve-controller-manager", "--timeout=120s")
    _apply(hooks)
    # The pod is ready a moment before its webhook answers.
    dry = ("kubectl", "apply", "--dry-run=server", "-f", "-")
    wait_for("KServe's webhook", lambda: run(*dry, stdin=json.dumps(_PROBE)))


def _apply(documents: list[dict[str, Any]]) -> None:
    text = yaml.dump_all(documents, Dumper=yaml.CSafeDumper)
    run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def _settings() -> dict[str, Any]:
    source = kserve_source() / "config/configmap/inferenceservice.yaml"
    document: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    document["metadata"] = {"name": "inferenceservice-config", "namespace": NAMESPACE}
    for key, over in _SETTINGS.items():
        document["data"][key] = json.dumps({**json.loads(document["data"][key]), **over})
    return document


def _certificate() -> dict[str, Any]:
    if not (layout.PKI / "kserve.crt").exists():
        pki.certificate("kserve", _HOOK, None, (_HOOK, f"{_HOOK}.{layout.DOMAIN}"))
    files = {"tls.crt": "kserve.crt", "tls.key": "kserve.key", "ca.crt": "ca.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": NAMESPACE},
        "data": {key: _base64(name) for key, name in files.items()},
    }


def fit(document: dict[str, Any]) -> dict[str, Any]:
    """What differs on the bed: the authority of the webhooks, the image, and no sidecar whose image is not here."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind.endswith("WebhookConfiguration"):
        document["metadata"].pop("annotations", None)
        for hook in document["webhooks"]:
            hook["clientConfig"]["caBundle"] = _base64("ca.crt")
    if kind == "CustomResourceDefinition" and (conversion := spec.get("conversion", {}).get("webhook")):
        conversion["clientConfig"]["caBundle"] = _base64("ca.crt")
    if kind == "Deployment":
        pod = spec["template"]["spec"]
        pod["containers"] = [item for item in pod["containers"] if item["name"] == "manager"]
        for container in pod["containers"]:
            container |= {"image": f"{layout.REGISTRY}/kserve-manager:1", "imagePullPolicy": "IfNotPresent"}
            container.pop("resources", None)
            for probe in ("livenessProbe", "readinessProbe"):
                container.get(probe, {})["initialDelaySeconds"] = 1
    return document


def _base64(name: str) -> str:
    return base64.b64encode((layout.PKI / name).read_bytes()).decode("ascii")
