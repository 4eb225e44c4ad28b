"""A planted secret: used for real in a run, and found in nothing that the run leaves behind."""

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

CANARY = "canary-5b1f-never-shown"


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers 401 to all, and remembers which passwords it was shown."""

    shown: list[str] = []  # noqa: RUF012 - one server per module

    def do_GET(self) -> None:
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            self.shown.append(base64.b64decode(login).decode().partition(":")[2])
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def tracking() -> Iterator[http.server.HTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def places_with(needle: bytes, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_a_used_secret_is_nowhere_in_logs_yaml_artifacts_records_and_pages(
    tmp_path: Path,
    tracking: http.server.HTTPServer,
    copy_heart: Callable[[Path], Path],
    kubeloop: Callable[..., Any],
) -> None:
    project = copy_heart(tmp_path / "project").parent
    home = project / ".kubeloop"
    site = tmp_path / "site"
    site.mkdir()
    (site / "site.yaml").write_text(
        f"home: {home}\n"
        f"store: file://{home}/store\n"
        f"sql: sqlite:///{home}/kubeloop.db\n"
        f"tracking: http://reader:${{secret:tracking}}@127.0.0.1:{tracking.server_port}\n"
        f"inputs: {project}\n"
        "allow_unsigned: true\n"
    )
    environment = {"KUBELOOP_SITE_DIR": str(site), "KUBELOOP_SECRET_TRACKING": CANARY}
    said = kubeloop("run", "--json", cwd=project, extra=environment)
    assert said.code == 0, said.err
    assert CANARY in Refusing.shown, "the secret was never used, so its absence would prove nothing"
    assert "mirror" in said.out
    assert kubeloop("compile", "--out", tmp_path / "build", cwd=project, extra=environment).code == 0
    for needle in (CANARY, base64.b64encode(f"reader:{CANARY}".encode()).decode()):
        assert needle not in said.out + said.err
        assert places_with(needle.encode(), tmp_path) == []
