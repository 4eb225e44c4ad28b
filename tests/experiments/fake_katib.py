"""A Kubernetes API with a Katib in it, over real HTTP: it validates what it gets, as Katib's webhook and SSA do."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.lint import lint
from kubeloop.experiments.suggesting import suggester_of

Document = dict[str, Any]
Observe = Callable[[dict[str, str]], str]
PLACE = re.compile(r"/apis/kubeflow\.org/v1beta1/namespaces/team/(experiments|trials|suggestions)(?:/([^/]+))?")


class FakeKatib:
    """Objects of the namespace `team`.

    Each time the trials are listed, the search moves on by one trial, as real time would move it.

    Attributes:
        observe: From an assignment to the text of its objective.
        faults: By method and plural: HTTP statuses to answer with first, such as `{("GET", "trials"): [410, 503]}`.
        stuck: Whether no trial ever begins.
    """

    def __init__(self, observe: Observe) -> None:
        self.observe = observe
        self.faults: dict[tuple[str, str], list[int]] = {}
        self.stuck = False
        self.pods: list[Document] = []
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

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: Any, content: str
    ) -> tuple[int, Document]:
        if path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.denied}}
        if path == "/api/v1/namespaces/team":
            return 200, {"metadata": {"name": "team", "labels": self.namespace_labels}}
        if path == "/api/v1/namespaces/team/pods":
            return 200, {"items": self.pods}
        match = PLACE.fullmatch(path)
        if match is None:
            return 404, status(404, "NotFound", f"no {path}")
        plural, name = match[1], match[2]
        queue = self.faults.get((method, plural))
        if queue:
            code = queue.pop(0)
            if code == 409:  # somebody else made it in between: what was sent is there
                self.experiments[name] = body
                self.begin(name)
            return code, status(code, "Expired" if code == 410 else "Failed", f"played {code}")
        return getattr(self, f"_{method.lower()}_{plural}")(name, query, body, content)

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
        return 200, {"status": {"conditions": [{"type": "DeploymentReady", "status": "True"}]}}

    def _get_trials(self, name: None, query: Any, body: Any, content: str) -> tuple[int, Document]:
        label, _, experiment = query["labelSelector"][0].partition("=")
        assert label == "katib.kubeflow.org/experiment"
        if not self.stuck:
            self.move(experiment)
        return 200, {"items": self.trials[experiment]}

    def move(self, name: str) -> None:
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


def _handler(katib: FakeKatib) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            content = self.headers.get("Content-Type", "")
            try:
                code, found = katib.answer(self.command, parts.path, parse_qs(parts.query), body, content)
            except AssertionError as error:
                code, found = 422, status(422, "Invalid", f"not as agreed: {error!r}")
            text = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler
