"""Pods of a run that were never made: KFP's own API says nothing of them, Argo's Workflow does."""

import base64
import datetime as dt
import gzip
import json
from collections.abc import Mapping
from typing import Any

from kubeloop.cluster.api import Document
from kubeloop.cluster.pods import PASSING_S


def unmade(workflow: Document, now: dt.datetime) -> str | None:
    """Why a pod of a run cannot be made, in Kubernetes' words; None: none waits for that.

    Args:
        workflow: Argo's object of the run.
        now: The clock, aware.
    """
    nodes = _nodes(workflow.get("status") or {})
    ended = {child for node in nodes.values() if _gave_up(node) for child in node.get("children", [])}
    for name, node in nodes.items():
        message = str(node.get("message", ""))
        never = name in ended and node["type"] == "Pod" and node["phase"] == "Error"
        # Another pod's end makes room in a full quota.
        waits = node["phase"] == "Pending" and "forbidden" in message and _age_s(node, now) > PASSING_S
        if message and (never or waits):
            return message
    return None


def _nodes(status: Mapping[str, Any]) -> dict[str, Any]:
    """Argo compresses the nodes of a Workflow that would be too large."""
    packed = status.get("compressedNodes")
    found = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else status.get("nodes")
    return dict(found or {})


def _gave_up(node: Mapping[str, Any]) -> bool:
    return bool(node["type"] == "Retry" and node["phase"] == "Error")


def _age_s(node: Mapping[str, Any], now: dt.datetime) -> float:
    return (now - dt.datetime.fromisoformat(node["startedAt"])).total_seconds()
