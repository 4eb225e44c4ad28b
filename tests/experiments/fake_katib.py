"""A Kubernetes API with a Katib in it, over real HTTP: it validates what it gets, as Katib's webhook and SSA do.

It knows the requests that Kubeloop may send by its Role, and answers 404 to all others.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.lint import lint
from kubeloop.experiments.suggesting import suggester_of

VERBS = {"PATCH": "patch", "DELETE": "delete"}
Document = dict[str, Any]
Observe = Callable[[dict[str, str]], str]
CORE = re.compile(r"/api/v1/namespaces/team/(pods|events)")
PLACE = re.compile(r"/apis/kubeflow\.org/v1beta1/namespaces/team/(experiments|trials|suggestions)(?:/([^/]+))?")


class FakeKatib:
    """Objects of the namespace `team`.

    While an Experiment is watched, its search moves on trial by trial, and each is news of the Experiment.

    Attributes:
        observe: From an assignment to the text of its objective.
        faults: By method and plural: HTTP statuses to answer with first, such as `{("GET", "trials"): [410, 503]}`;
            those of `("WATCH", "experiments")` are words: `ends`, `cut`, `bookmark`, `expired`, `gone`.
        stuck: Whether no further trial begins.
        asked: Verb and kind of every request, as a Role has them.
    """

    def __init__(self, observe: Observe) -> None:
        self.observe = observe
        self.faults: dict[tuple[str, str], list[Any]] = {}
        self.stuck = False
        self.pods: list[Document] = []
        self.events: list[Document] = []
        self.logs: dict[str, str] = {}
        self.suggestion: Document = {"status": {"conditions": [{"type": "DeploymentReady", "status": "True"}]}}
        self.version = 1
        self.asked: list[tuple[str, str]] = []
        self.broken: Exception | None = None
        self.namespace_labels = {"katib.kubeflow.org/metrics-collector-injection": "enabled"}
        self.denied: set[tuple[str, str]] = set()
        self.experiments: dict[str, Document] = {}
        self.trials: dict[str, list[Document]] = {}
        self.suggesters: dict[str, Any] = {}
        self.created: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        assert self.broken is None, self.broken

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, content: str) -> tuple[int, Any]:
        if path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.denied}}
        if path.endswith("/log"):
            return 200, self.logs.get(path.split("/")[-2], "")
        if path == "/api/v1/namespaces/team":
            return 200, {"metadata": {"name": "team", "labels": self.namespace_labels}}
        core = CORE.fullmatch(path)
        if core is not None and method == "GET":
            self.asked.append(("list", core[1]))
            return 200, {"items": self._chosen(self.pods if core[1] == "pods" else self.events, query)}
        match = PLACE.fullmatch(path)
        if match is None:
            return 404, status(404, "NotFound", f"no {path}")
        plural, name = match[1], match[2]
        self.asked.append((VERBS.get(method, "get" if name else "list"), plural))
        if "watch" in query:
            self.faults["WATCH", plural].pop(0)
            return 410, status(410, "Expired", "too old resource version")
        queue = self.faults.get((method, plural))
        if queue:
            code = queue.pop(0)
            if code == 409:  # somebody else made it in between: what was sent is there
                self.experiments[name] = body
                self.begin(name)
            return code, status(code, "Expired" if code == 410 else "Failed", f"played {code}")
        return getattr(self, f"_{method.lower()}_{plural}")(name, query, body, content)

    def _chosen(self, items: list[Document], query: dict[str, list[str]]) -> list[Document]:
        """As selectors choose: by labels, and by the name of the object."""
        pairs = [tuple(each.split("=", 1)) for text in query.get("labelSelector", ()) for each in text.split(",")]
        names = [text.removeprefix("metadata.name=") for text in query.get("fieldSelector", ()) if "name=" in text]
        return [
            item
            for item in items
            if all((item["metadata"].get("labels") or {}).get(key) == value for key, value in pairs)
            and all(item["metadata"]["name"] == name for name in names)
        ]

    def refuses_watch(self) -> bool:
        """Whether the next watch shall be answered 410 at once."""
        return (self.faults.get(("WATCH", "experiments")) or [""])[0] == "gone"

    def news(self, query: dict[str, list[str]]) -> Iterator[bytes]:
        """As `watch`; what breaks in it ends the search at once, and the test with it."""
        try:
            yield from self.watch(query)
        except Exception as error:
            self.broken = error
            self.experiments.clear()
            raise

    def watch(self, query: dict[str, list[str]]) -> Iterator[bytes]:
        """Events of one Experiment, a line each."""
        assert query["allowWatchBookmarks"] == ["true"]
        assert int(query["timeoutSeconds"][0]) >= 1
        name, since = query["fieldSelector"][0].removeprefix("metadata.name="), int(query["resourceVersion"][0])
        assert 0 < since <= self.version, "a watch begins at a version that was seen"
        faults = self.faults.get(("WATCH", "experiments"))
        fault = faults.pop(0) if faults else None
        self.asked.append(("watch", "experiments"))
        if fault == "expired":
            yield line("ERROR", status(410, "Expired", "too old resource version"))
        if fault == "bookmark":
            yield line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
        if fault == "cut":
            yield line("MODIFIED", self.experiments[name])[:40]
        if fault in ("ends", "expired", "cut"):
            return
        while name in self.experiments and not self.experiments[name].get("status"):
            if self.stuck:
                return
            self.move(name)
            yield line("MODIFIED", self.experiments[name])
        if name not in self.experiments:
            yield line("DELETED", {"metadata": {"name": name}})

    def _patch_experiments(self, name: str, query: Any, body: Any, content: str) -> tuple[int, Document]:
        assert content == "application/apply-patch+yaml"
        assert query["fieldManager"] == ["kubeloop"]
        assert body["metadata"]["name"] == name
        errors = [str(finding) for finding in lint(body) if finding.level == "error"]
        if errors:
            return 400, status(400, "BadRequest", f"admission webhook denied the request: {errors[0]}")
        if query.get("dryRun") != ["All"]:
            self.experiments[name] = body
            self.created.append(name)
            self.begin(name)
        return 201, body

    def begin(self, name: str) -> None:
        self.experiments[name]["metadata"]["resourceVersion"] = str(self.version)
        self.suggesters[name] = suggester_of(from_experiment(self.experiments[name]), 5)
        self.trials[name] = []

    def _get_experiments(self, name: str | None, query: Any, body: Any, content: str) -> tuple[int, Document]:
        if name is None:
            label, _, value = query["labelSelector"][0].partition("=")
            found = [e for e in self.experiments.values() if e["metadata"]["labels"].get(label) == value]
            return 200, {"items": found}
        if name not in self.experiments:
            return 404, status(404, "NotFound", f"experiments {name} not found")
        return 200, self.experiments[name]

    def _delete_experiments(self, name: str, query: Any, body: Any, content: str) -> tuple[int, Document]:
        policy = (*query.get("propagationPolicy", ()), (body or {}).get("propagationPolicy"))
        assert {"Foreground", "Background"} & set(policy), "trials must go with their Experiment"
        if self.experiments.pop(name, None) is None:
            return 404, status(404, "NotFound", f"experiments {name} not found")
        return 200, {}

    def _get_suggestions(self, name: str, query: Any, body: Any, content: str) -> tuple[int, Document]:
        return 200, self.suggestion

    def _get_trials(self, name: None, query: Any, body: Any, content: str) -> tuple[int, Document]:
        label, _, experiment = query["labelSelector"][0].partition("=")
        assert label == "katib.kubeflow.org/experiment"
        return 200, {"items": self.trials[experiment]}

    def move(self, name: str) -> None:
        self.version += 1
        self.experiments[name]["metadata"]["resourceVersion"] = str(self.version)
        experiment, trials = self.experiments[name], self.trials[name]
        search = from_experiment(experiment)
        most = search.budget.trials or 10
        if len(trials) < most:
            given = self.suggesters[name].ask()
            assert given is not None
            text = self.observe(given)
            trials.append(_trial(name, len(trials), given, search.objective.metric, text))
            value = float(text) if text not in ("", "unavailable") else None
            self.suggesters[name].tell(len(trials) - 1, value)
        if len(trials) >= most:
            end = {
                "type": "Succeeded",
                "status": "True",
                "message": "Experiment has succeeded because max trial count has reached",
            }
            # Katib's own optimum: of strings that are no numbers the latest is the best.
            experiment["status"] = {
                "conditions": [end],
                "currentOptimalTrial": {"bestTrialName": trials[-1]["metadata"]["name"]},
            }


def _trial(name: str, number: int, given: dict[str, str], metric: str, text: str) -> Document:
    ended = {"type": "Succeeded", "status": "True", "message": "Trial has succeeded"}
    if text == "unavailable":
        ended = {"type": "MetricsUnavailable", "status": "True", "message": "Metrics are not available"}
    observed = [{"name": metric, "latest": text, "min": text or "unavailable", "max": text or "unavailable"}]
    return {
        "metadata": {"name": f"{name}-{number:x}", "creationTimestamp": f"2026-01-01T00:{number:02d}:00Z"},
        "spec": {"parameterAssignments": [{"name": key, "value": value} for key, value in given.items()]},
        "status": {
            "conditions": [{"type": "Created", "status": "True"}, ended],
            "observation": {"metrics": observed},
            "startTime": f"2026-01-01T00:{number:02d}:01Z",
            "completionTime": f"2026-01-01T00:{number:02d}:31Z",
        },
    }


def status(code: int, reason: str, message: str) -> Document:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": {}}


def line(kind: str, document: Document) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode() + b"\n"


def _handler(katib: FakeKatib) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _stream(self, query: dict[str, list[str]]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with suppress(OSError):  # whoever has seen enough hangs up
                for each in katib.news(query):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(each), each))
                self.wfile.write(b"0\r\n\r\n")

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            if "watch" in parse_qs(parts.query) and not katib.refuses_watch():
                self._stream(parse_qs(parts.query))
                return
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            content = self.headers.get("Content-Type", "")
            try:
                code, found = katib.answer(self.command, parts.path, parse_qs(parts.query), body, content)
            except AssertionError as error:
                code, found = 422, status(422, "Invalid", f"not as agreed: {error!r}")
            text = (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler
