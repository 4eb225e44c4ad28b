"""A Kubernetes API of the namespace `team-a`, over real HTTP: it validates what is applied by the client's own models,
knows the requests that our Role allows, and answers 403 to all others.
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kubernetes import client

from kubeloop.cluster import installing
from tests.kubeconfig import write_kubeconfig

Document = dict[str, Any]
MODELS = {
    "deployments": client.V1Deployment,
    "configmaps": client.V1ConfigMap,
    "persistentvolumeclaims": client.V1PersistentVolumeClaim,
    "services": client.V1Service,
    "networkpolicies": client.V1NetworkPolicy,
}
PLACE = re.compile(r"/(?:api/v1|apis/([a-z0-9.]+)/v1)/namespaces/team-a/([a-z]+)(?:/([^/]+))?(/log)?")
VERBS = {"GET": "get", "PATCH": "patch", "DELETE": "delete"}


def unknown_fields(document: Any, kind: str, place: str = "") -> Iterator[str]:
    """Places of fields that a Kubernetes type does not have, or that are of another type."""
    simple: dict[str, Any] = {"str": str, "int": int, "bool": bool, "object": object, "datetime": str}
    if kind in simple:
        if not isinstance(document, simple[kind]) or (kind == "int" and isinstance(document, bool)):
            yield f"{place} is no {kind}: {document!r}"
    elif kind.startswith("list["):
        for number, item in enumerate(document):
            yield from unknown_fields(item, kind[5:-1], f"{place}[{number}]")
    elif kind.startswith("dict("):
        for key, value in document.items():
            yield from unknown_fields(value, kind[5:-1].split(", ")[1], f"{place}.{key}")
    else:
        model: Any = getattr(client, kind)
        attributes = {wire: name for name, wire in model.attribute_map.items()}
        for key, value in document.items():
            if key not in attributes:
                yield f"{place}.{key} is unknown"
            else:
                yield from unknown_fields(value, model.openapi_types[attributes[key]], f"{place}.{key}")


def role_rules(name: str) -> list[Document]:
    """What the Role of that name allows, as `kubeloop install` applies it."""
    text = (Path(installing.__file__).parent / "base" / "roles.yaml").read_text(encoding="ascii")
    roles = [found for found in yaml.safe_load_all(text) if found["kind"] == "Role"]
    return list(next(role for role in roles if role["metadata"]["name"] == name)["rules"])


class FakeCluster:
    """Objects by plural and name. A Deployment's pod is ready at the second look, unless `pods` holds its trouble.

    Attributes:
        objects: What was applied.
        pods: What the API lists as pods.
        log: What every container has said.
        asked: Method and plural of each request, dry runs as `DRY`.
        refusals: By plural: what an admission webhook says to it.
    """

    def __init__(self, role: str) -> None:
        self.rules = role_rules(role)
        self.objects: dict[tuple[str, str], Document] = {}
        self.pods: list[Document] = []
        self.log = ""
        self.asked: list[tuple[str, str]] = []
        self.refusals: dict[str, str] = {}
        self.looks = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig of this server."""
        return write_kubeconfig(path, self.server)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        match = PLACE.fullmatch(path)
        if match is None:
            return 404, _status(404, "NotFound", f"no {path}")
        group, plural, name, log = match[1] or "", match[2], match[3], match[4]
        dry = "dryRun" in query
        self.asked.append(("DRY" if dry else method, plural))
        verbs = {"list" if method == "GET" and name is None else VERBS[method]}
        if method == "PATCH" and (plural, name) not in self.objects:
            verbs.add("create")
        if not all(self._may(verb, group, plural + (log or "")) for verb in verbs):
            return 403, _status(403, "Forbidden", f"cannot {verbs} {plural}")
        if log:
            return 200, self.log
        if name is None:
            return 200, {"items": self.pods if plural == "pods" else []}
        if method == "PATCH":
            return self._apply(plural, name, query, body, dry)
        if method == "DELETE":
            gone = self.objects.pop((plural, name), None)
            return (200, gone) if gone else (404, _status(404, "NotFound", name))
        return self._get(plural, name)

    def _may(self, verb: str, group: str, resource: str) -> bool:
        return any(
            verb in rule["verbs"] and group in rule["apiGroups"] and resource in rule["resources"]
            for rule in self.rules
        )

    def _apply(self, plural: str, name: str, query: Any, body: Document, dry: bool) -> tuple[int, Any]:
        wrong = list(unknown_fields(body, MODELS[plural].__name__))
        meta = body["metadata"]
        if query.get("fieldManager") != ["kubeloop"] or (meta["name"], meta["namespace"]) != (name, "team-a"):
            wrong.append("field manager, name and namespace")
        if wrong:
            return 422, _status(422, "Invalid", "; ".join(wrong))
        if plural in self.refusals:
            return 400, _status(400, "BadRequest", self.refusals[plural])
        before = self.objects.get((plural, name), {})
        changed = {key: before.get(key) for key in body} != {**body, "metadata": before.get("metadata")}
        generation = before.get("metadata", {}).get("generation", 0) + changed
        made = {**body, "metadata": {**meta, "generation": generation}}
        if not dry:
            self.objects[plural, name] = made
            self.looks = 0
        return 200, made

    def _get(self, plural: str, name: str) -> tuple[int, Any]:
        found = self.objects.get((plural, name))
        if found is None:
            return 404, _status(404, "NotFound", name)
        self.looks += 1
        if plural == "deployments" and self.looks > 1 and not self.pods:
            ready = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
            return 200, {**found, "status": {"observedGeneration": found["metadata"]["generation"], **ready}}
        return 200, found


def _status(code: int, reason: str, message: str) -> Document:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


def _handler(cluster: FakeCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            code, found = cluster.answer(self.command, parts.path, parse_qs(parts.query), body)
            said = (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PATCH = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler
