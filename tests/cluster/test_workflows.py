"""What Argo's Workflow says of pods that were never made, on nodes as a real controller wrote them."""

import base64
import datetime as dt
import gzip
import json

import pytest

from kubeloop.cluster.workflows import unmade

NOW = dt.datetime(2026, 11, 22, 1, 30, tzinfo=dt.UTC)
INVALID = (
    'Pod "train-impl-1" is invalid: [spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type]'
)
QUOTA = 'pods "train-impl-1" is forbidden: exceeded quota: small, requested: limits.memory=2Gi, used: 0, limited: 1Gi'


def node(kind, phase, message="", started="2026-11-22T01:26:25Z", children=()):
    return {"type": kind, "phase": phase, "message": message, "startedAt": started, "children": list(children)}


def workflow(nodes, *, packed=False):
    if not packed:
        return {"status": {"nodes": nodes}}
    return {"status": {"compressedNodes": base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()}}


@pytest.mark.parametrize("packed", [False, True])
def test_a_pod_that_is_invalid_is_told_once_argo_has_given_up(packed):
    tries = {f"x-{number}": node("Pod", "Error", INVALID) for number in range(3)}
    given_up = {"x": node("Retry", "Error", "No more retries left", children=tries), **tries}
    assert unmade(workflow(given_up, packed=packed), NOW) == INVALID
    assert unmade(workflow(given_up | {"x": node("Retry", "Running", children=tries)}, packed=packed), NOW) is None


def test_a_full_quota_is_told_after_a_while():
    assert unmade(workflow({"x": node("Pod", "Pending", QUOTA)}), NOW) == QUOTA
    assert unmade(workflow({"x": node("Pod", "Pending", QUOTA, "2026-11-22T01:29:30Z")}), NOW) is None


@pytest.mark.parametrize(
    "nodes",
    [
        {"x": node("Pod", "Pending", "PodInitializing")},
        {"x": node("Pod", "Failed", "main: Error (exit code 1)"), "r": node("Retry", "Failed", children=["x"])},
        {},
        None,
    ],
)
def test_all_else_is_told_by_its_pod_or_its_task(nodes):
    assert unmade(workflow(nodes), NOW) is None
    assert unmade({}, NOW) is None
