"""What doctor says of a Katib, by the documents that its API and its ConfigMap hold; over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.cluster import examine
from kubeloop.cluster.api import Api, connect
from kubeloop.site import laptop
from kubeloop.site.model import Cluster
from tests.kubeconfig import write_kubeconfig

KATIB = "/apis/kubeflow.org/v1beta1"
CONFIG = "/api/v1/namespaces/kubeflow/configmaps/katib-config"
BARE = {"algorithmName": "tpe"}
CONFINED = {"algorithmName": "random", "securityContext": {"runAsNonRoot": True}}


class Server:
    """An API server that holds some documents, and knows of nothing else.

    Attributes:
        documents: By path.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def katib(self, suggestions: list[dict[str, Any]], *, inject: bool) -> None:
        settings = {
            "init": {"controller": {"injectSecurityContext": inject}},
            "runtime": {"suggestions": suggestions},
        }
        self.documents = {
            KATIB: {"kind": "APIResourceList", "groupVersion": "kubeflow.org/v1beta1", "resources": []},
            CONFIG: {"kind": "ConfigMap", "data": {"katib-config.yaml": yaml.safe_dump(settings)}},
        }


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = server.documents.get(self.path.partition("?")[0])
            missing = {"kind": "Status", "code": 404, "reason": "NotFound", "message": f"no {self.path}"}
            said = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def api(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "config", server.http)))
    return connect(laptop(tmp_path).model_copy(update={"cluster": Cluster(image="registry.example/predictor:1")}))


def test_no_katib_is_nothing_to_mend(api: Api) -> None:
    look = examine._katib(api)
    assert (look.seen, look.fix) == ("not here: a search runs where it is started", "")


@pytest.mark.parametrize(
    ("suggestions", "inject", "seen"),
    [
        ([CONFINED], True, "v1beta1; its pods keep to Pod Security restricted"),
        ([CONFINED], False, "its metrics collector may not start here: Pod Security restricted"),
        (
            [{"algorithmName": "tpe"}, CONFINED],
            True,
            "its services for tpe may not start here: Pod Security restricted",
        ),
    ],
)
def test_what_katibs_settings_let_start(
    server: Server, api: Api, suggestions: list[dict[str, Any]], inject: bool, seen: str
) -> None:
    server.katib(suggestions, inject=inject)
    look = examine._katib(api)
    assert look.seen == seen
    assert ("injectSecurityContext: true" in look.fix) == (seen.endswith("restricted") and "may not" in seen)


def test_a_trainer_wants_a_katib(server: Server, api: Api, tmp_path: Path) -> None:
    cluster = Cluster(image="registry.example/predictor:1", trainer="registry.example/pipeline:1")
    site = laptop(tmp_path).model_copy(update={"cluster": cluster})
    assert "there is no Katib that could run it" in examine._trainer(api, site).seen
    server.katib([CONFINED], inject=True)
    assert (examine._trainer(api, site).seen, examine._trainer(api, site).fix) == (cluster.trainer, "")
