"""The ServingRuntime: what KServe's own schema says of it, and that the predictor takes its command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kubeloop.serving.predictor import options
from kubeloop.serving.runtime import MODELS, serving_runtime

IMAGE = "registry.example/kubeloop/predictor@sha256:" + "0" * 64


def test_the_predictor_takes_the_command_line_of_the_manifest() -> None:
    (container,) = serving_runtime(IMAGE)["spec"]["containers"]
    assert container["command"] == ["python", "-m", "kubeloop.serving.predictor"]
    found = options([argument.replace("{{.Name}}", "heart") for argument in container["args"]])
    assert (found.name, str(found.package), found.http_port, found.host) == ("heart", MODELS, 8080, "0.0.0.0")
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}


def test_the_manifest_is_printed_for_kubectl() -> None:
    command = [sys.executable, "-m", "kubeloop.serving.runtime", "--image", IMAGE, "--cluster"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    assert json.loads(printed) == serving_runtime(IMAGE, cluster=True)


@pytest.mark.parametrize("cluster", [False, True])
def test_kserve_accepts_the_manifest(cluster: bool) -> None:
    """Against the schema that KServe installs, where there is one: `KSERVE_CRDS` names its folder."""
    folder = os.environ.get("KSERVE_CRDS")
    if folder is None:
        pytest.skip("KSERVE_CRDS names no folder with KServe's CustomResourceDefinitions")
    manifest = serving_runtime(IMAGE, cluster=cluster)
    kind = manifest["kind"].lower()
    definition: Any = yaml.safe_load((Path(folder) / f"serving.kserve.io_{kind}s.yaml").read_text())
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1alpha1")
    schema = closed(version["schema"]["openAPIV3Schema"])
    jsonschema.validate(manifest, schema)
    manifest["spec"]["supportedModelFormat"] = []
    with pytest.raises(jsonschema.ValidationError, match="supportedModelFormat"):
        jsonschema.validate(manifest, schema)


def closed(schema: Any) -> Any:
    """A schema that refuses what the API server would silently drop."""
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) if key in ("items", "additionalProperties") else value for key, value in schema.items()}
    if "properties" in made:
        made["properties"] = {key: closed(value) for key, value in made["properties"].items()}
        if made["properties"].keys() != {"apiVersion", "kind", "metadata", "spec", "status"}:
            made.setdefault("additionalProperties", False)
    return made
