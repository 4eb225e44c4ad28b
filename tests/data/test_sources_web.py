"""Sources behind a real HTTP server and a real object store: whole, or not at all."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

import kubeloop.data.sources
from kubeloop.contract.sections import IngestSection
from kubeloop.data.ingest import ingest
from kubeloop.data.patience import Patience
from kubeloop.data.tables import read_frame
from kubeloop.errors import InputError, TransientError
from kubeloop.site import laptop
from kubeloop.site.model import ObjectStore

COLUMNS = {"x": "number", "y": "integer"}
ROWS = "x,y\n" + "".join(f"{i / 8},{i % 2}\n" for i in range(40_000))


@dataclass
class Server:
    """What the server does, and what it was asked.

    Attributes:
        body: The file.
        breaks: After how many bytes each of the next connections breaks; None: never.
        answers: Status codes that the next requests get, before all goes well.
        ranges: Whether it can send a part.
        length: Whether it says how long the file is.
        asked: Header Range of each request.
    """

    body: bytes = ROWS.encode()
    tag: str = '"one"'
    breaks: list[int | None] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    ranges: bool = True
    length: bool = True
    login: str | None = None
    asked: list[str | None] = field(default_factory=list)
    changes: bytes | None = None
    url: str = ""


def handler_of(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.asked.append(asked)
            if server.answers:
                self.send_error(server.answers.pop(0))
                return
            if server.login is not None and self.headers.get("Authorization") != server.login:
                self.send_error(401)
                return
            start = 0
            if asked and server.ranges and self.headers.get("If-Range") == server.tag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
            else:
                self.send_response(200)
            if server.length:
                self.send_header("Content-Length", str(len(server.body) - start))
            self.send_header("ETag", server.tag)
            self.end_headers()
            breaks = server.breaks.pop(0) if server.breaks else None
            self.wfile.write(server.body[start:] if breaks is None else server.body[start : start + breaks])
            if breaks is not None and server.changes is not None:
                server.body, server.tag, server.changes = server.changes, '"two"', None

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    moments = iter(range(10**9))
    patience = Patience(deadline_s=20, clock=lambda: float(next(moments)), sleep=lambda seconds: None)
    monkeypatch.setattr(kubeloop.data.sources, "Patience", lambda: patience)
    found = Server()
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(found))
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    found.url = f"http://127.0.0.1:{running.server_port}/t.csv"
    yield found
    running.shutdown()
    running.server_close()


def local_digest(world) -> str:
    world.file(ROWS)
    return world.ingest(world.data(COLUMNS), out="local")["digest"]


def test_a_file_behind_http_is_the_same_table(world, server):
    facts = world.ingest(world.data(COLUMNS, (f"{server.url}?version=2",)))
    assert facts["digest"] == local_digest(world)
    assert server.asked == [None]


def test_a_broken_connection_is_taken_up_where_it_broke(world, server):
    server.breaks = [100_000, 50_000]
    facts = world.ingest(world.data(COLUMNS, (server.url,)))
    assert facts["digest"] == local_digest(world)
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_without_parts_sends_all_again(world, server):
    server.ranges, server.breaks = False, [100_000]
    assert world.ingest(world.data(COLUMNS, (server.url,)))["digest"] == local_digest(world)


def test_two_versions_of_a_file_are_never_mixed(world, server):
    server.breaks, server.changes = [100_000], b"x,y\n1,0\n2,1\n"
    assert world.ingest(world.data(COLUMNS, (server.url,)))["rows"] == 2
    assert read_frame(world.out / "table")["x"].tolist() == [1.0, 2.0]


def test_a_server_that_dies_in_the_middle_leaves_no_snapshot(world, server):
    server.breaks = [1000] + [0] * 1000
    with pytest.raises(TransientError, match=r"the connection broke \(1000 of \d+ bytes came\); nothing was kept"):
        world.ingest(world.data(COLUMNS, (server.url,)))
    assert not list(world.out.glob("*"))
    assert not list(world.out.glob(".*"))
    assert len(server.asked) > 3


def test_passing_troubles_are_waited_for(world, server):
    server.answers = [503, 429, 500]
    assert world.ingest(world.data(COLUMNS, (server.url,)))["rows"] == 40_000
    server.answers = [503] * 1000
    with pytest.raises(TransientError, match="the server answered 503"):
        world.ingest(world.data(COLUMNS, (server.url,)), out="second")
    assert not (world.out / "second").exists()


@pytest.mark.parametrize(("code", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (401, "401 Unauthorized")])
def test_a_refusal_is_said_at_once(world, server, code, words):
    server.answers = [code] * 2
    with pytest.raises(InputError, match=f"the file was expected, the server answered {words}"):
        world.ingest(world.data(COLUMNS, (server.url,)))
    assert len(server.asked) == 1


def test_an_answer_without_length_is_refused(world, server):
    server.length = False
    with pytest.raises(InputError, match="says neither how long the file is nor where it ends"):
        world.ingest(world.data(COLUMNS, (server.url,)))


def test_a_host_that_is_not_there(world, server):
    with pytest.raises(InputError, match="no host has this name"):
        world.ingest(world.data(COLUMNS, ("http://nowhere.invalid/t.csv",)))


def test_the_password_comes_by_reference_and_is_never_shown(world, server, monkeypatch):
    monkeypatch.setenv("KUBELOOP_SECRET_FILES", "CANARY p@ss")
    server.login = "Basic cmVhZGVyOkNBTkFSWSBwQHNz"
    place = server.url.replace("://", "://reader:${secret:files}@")
    facts = world.ingest(world.data(COLUMNS, (place,)))
    assert facts["rows"] == 40_000
    assert "CANARY" not in json.dumps(facts)
    server.login = "another"
    with pytest.raises(InputError, match="401") as refused:
        world.ingest(world.data(COLUMNS, (place,)))
    assert "CANARY" not in json.dumps(refused.value.to_dict())


@pytest.fixture(scope="module")
def bucket():
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    running = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(bucket, monkeypatch):
    for name, value in (
        ("AWS_ENDPOINT_URL", bucket),
        ("AWS_ACCESS_KEY_ID", "reader"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    if not files.exists("tables"):
        files.mkdir("tables")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()


def test_an_object_is_the_same_table(world, s3, monkeypatch):
    monkeypatch.setattr("kubeloop.data.objects._RANGE", 65_536)
    s3.pipe_file("tables/t.csv", ROWS.encode())
    assert world.ingest(world.data(COLUMNS, ("s3://tables/t.csv",)))["digest"] == local_digest(world)


def test_an_object_that_is_not_there(world, s3):
    with pytest.raises(InputError, match="there is no such object"):
        world.ingest(world.data(COLUMNS, ("s3://tables/none.csv",)))
    with pytest.raises(InputError, match="one object was expected, this is a folder"):
        world.ingest(world.data(COLUMNS, ("s3://tables",)))


def test_an_object_that_changes_while_it_is_read_is_read_again(world, s3, monkeypatch):
    import kubeloop.data.objects as objects

    monkeypatch.setattr(objects, "_RANGE", 65_536)
    s3.pipe_file("tables/c.csv", ROWS.encode())
    asked, read = [], objects._range

    def changing(files, path, start, size, shown):
        asked.append(start)
        if len(asked) == 3:
            s3.pipe_file("tables/c.csv", b"x,y\n1,0\n2,1\n")
        return read(files, path, start, size, shown)

    monkeypatch.setattr(objects, "_range", changing)
    monkeypatch.setattr(kubeloop.data.sources, "Patience", lambda: Patience(sleep=lambda seconds: None))
    assert world.ingest(world.data(COLUMNS, ("s3://tables/c.csv",)))["rows"] == 2


def dying_store(body: bytes, sends: int) -> type[http.server.BaseHTTPRequestHandler]:
    """An object store that sends so many bytes of a part, and then dies: it hangs up, and nobody listens any more."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(200)
            self._describe(len(body))

        def do_GET(self) -> None:
            start, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
            part = body[int(start) : int(end or len(body) - 1) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(body)}")
            self._describe(len(part))
            self.wfile.write(part[:sends])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            assert isinstance(self.server, http.server.HTTPServer)
            self.server.socket.close()

        def _describe(self, length: int) -> None:
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    return Handler


def test_an_object_store_that_dies_in_the_middle_leaves_no_snapshot(world, monkeypatch):
    import s3fs

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), dying_store(ROWS.encode(), 1000))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}"),
        ("AWS_ACCESS_KEY_ID", "reader"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(kubeloop.data.sources, "Patience", lambda: Patience(deadline_s=0))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(TransientError, match=r"s3://tables/d.csv: reading broke off \(\w+\); nothing was kept"):
        world.ingest(world.data(COLUMNS, ("s3://tables/d.csv",)))
    assert not list(world.out.glob("*"))
    assert not list(world.out.glob(".*"))
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()


def test_the_key_of_the_object_store_comes_from_the_site(world, bucket, s3, monkeypatch):
    s3.pipe_file("tables/k.csv", ROWS.encode())
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("KUBELOOP_SECRET_S3_KEY", "reader")
    monkeypatch.setenv("KUBELOOP_SECRET_S3_SECRET", "CANARY")
    how = ObjectStore(endpoint=bucket, region="us-east-1", key="${secret:s3-key}", secret="${secret:s3-secret}")
    site = laptop(world.out / "home", world.inputs).model_copy(update={"objects": how})
    section = IngestSection(
        name="demo", data=world.data(COLUMNS, ("s3://tables/k.csv",)), target=world.target("y", "binary")
    )
    facts = ingest(section, site, world.out / "table")
    assert facts["rows"] == 40_000
    assert "CANARY" not in json.dumps(facts)
    bare = laptop(world.out / "home", world.inputs).model_copy(update={"objects": how.model_copy(update={"key": None})})
    with pytest.raises(InputError, match=r"s3://tables/k.csv: no key for the object storage was found"):
        ingest(section, bare, world.out / "second")
