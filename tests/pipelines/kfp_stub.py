"""A KFP server of HTTP alone: keeps what it is sent, refuses fields that the API does not know, plays faults."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as models
import yaml

_MODELS = {
    "experiments": models.V2beta1Experiment,
    "runs": models.V2beta1Run,
    "recurringruns": models.V2beta1RecurringRun,
}


def unknown_fields(document: Any, model: Any, place: str = "") -> list[str]:
    """Fields that the API's own generated model does not have, at any depth."""
    found: list[str] = []
    known = {wire: name for name, wire in model.attribute_map.items()}
    for key, value in document.items():
        if key not in known:
            found.append(f"{place}{key}")
            continue
        inner = getattr(models, model.openapi_types[known[key]], None)
        if inner is not None and hasattr(inner, "attribute_map") and isinstance(value, dict):
            found += unknown_fields(value, inner, f"{place}{key}.")
    return found


class Server:
    """What the stub keeps.

    Attributes:
        pipelines: Versions by pipeline name, each with its documents.
        kept: Experiments, runs and recurring runs by kind.
        faults: Answers (status, message) to play before the next requests whose path holds the key.
        states: What `get_run` says, one after the other; the last for good.
    """

    def __init__(self) -> None:
        self.pipelines: dict[str, list[dict[str, Any]]] = {}
        self.kept: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _MODELS}
        self.faults: dict[str, tuple[int, str]] = {}
        self.states: list[dict[str, Any]] = []
        self.url = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, dict[str, Any]]:
        for part, (status, message) in self.faults.items():
            if part in path:
                return status, {"error": message}
        words = path.removeprefix("/apis/v2beta1/").split("/")
        if words[0] == "pipelines":
            return self._pipelines(method, words, query, body)
        if words[0] in self.kept:
            return self._kept(method, words, query, body)
        return 200, {}

    def _pipelines(
        self, method: str, words: list[str], query: dict[str, list[str]], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if words[1:] == ["upload"]:
            return self._uploaded(query["name"][0], query["name"][0], body, first=True)
        if words[1:] == ["upload_version"]:
            return self._uploaded(query["pipelineid"][0], query["name"][0], body, first=False)
        if words[2:] == ["versions"]:
            # One a page, so that whoever reads the first page alone is found out.
            versions = self.pipelines[words[1]]
            at = int(query.get("page_token", ["0"])[0] or 0)
            shown = [{key: item[key] for key in ("pipeline_version_id", "display_name")} for item in versions]
            more = {"next_page_token": str(at + 1)} if at + 1 < len(shown) else {}
            return 200, {"pipeline_versions": shown[at : at + 1], **more}
        wanted = json.loads(query["filter"][0])["predicates"][0]["stringValue"]
        found = [{"pipeline_id": name, "display_name": name} for name in self.pipelines if name == wanted]
        return 200, {"pipelines": found, "total_size": len(found)}

    def _uploaded(self, pipeline: str, version: str, body: bytes, *, first: bool) -> tuple[int, dict[str, Any]]:
        versions = self.pipelines.setdefault(pipeline, [])
        if (first and versions) or version in {item["display_name"] for item in versions}:
            return 409, {"error": f"{version} already exists"}
        text = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        documents = list(yaml.safe_load_all(text))
        made = {"pipeline_version_id": f"{pipeline}/{len(versions)}", "display_name": version, "documents": documents}
        versions.append(made)
        return 200, {"pipeline_id": pipeline, "pipeline_version_id": made["pipeline_version_id"]}

    def _kept(
        self, method: str, words: list[str], query: dict[str, list[str]], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        kind, items = words[0], self.kept[words[0]]
        field = {"experiments": "experiment_id", "runs": "run_id", "recurringruns": "recurring_run_id"}[kind]
        if method == "DELETE":
            self.kept[kind] = [item for item in items if item[field] != words[1]]
            return 200, {}
        if method == "POST":
            document = json.loads(body)
            if unknown := unknown_fields(document, _MODELS[kind]):
                return 400, {"error": f"unknown field {', '.join(unknown)}"}
            made = {**document, field: f"{kind}-{len(items)}"}
            items.append(made)
            return 200, made
        if kind == "runs":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return 200, {"run_id": words[1], **state}
        if "filter" in query:
            wanted = json.loads(query["filter"][0])["predicates"][0]["stringValue"]
            items = [item for item in items if item["display_name"] == wanted]
        answer = "recurringRuns" if kind == "recurringruns" else kind
        return 200, {answer: items, "total_size": len(items)}


@contextmanager
def kfp_server() -> Iterator[Server]:
    """A stub on loopback."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, document = state.answer(self.command, split.path, parse_qs(split.query), body)
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _any

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
