"""Planted values: personal, denied and audited columns go through a whole run, and what came out is searched.

Values of the personal and the denied ones may stand in the source file alone: not in a table between tasks, nor in the
quarantine, nor among mended rows; a person who mends gets them from the source, in a file of the person's own. One of
the personal columns names the entity, which the split goes by. The audited column is a group that only
the fairness report names: it reaches no model, no package and no log.
"""

import io
import json
import re
import signal
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeloop.serving.state import running
from tests.front_door import running_command
from tests.serving.test_local import until

pytestmark = pytest.mark.e2e

PII, PHONE, DENIED, AUDIT, SEEN = "Zyqanthe", "8675309", "Wexlorpe", "Qubbinar", "Vermilith"
CONTRACT = """\
kubeloop: 1
name: planted
data:
  sources:
    - {name: people, path: people.csv}
  id: [person]
  columns:
    person: {type: text, policy: pii, pattern: "^[A-Z]"}
    phone: {type: integer, policy: pii, minimum: 1}
    diagnosis: {type: text, policy: deny}
    origin: {type: category, policy: audit_only}
    age: {type: integer, minimum: 18, maximum: 100}
    colour: {type: category}
    label: {type: integer}
target: {column: label, task: binary, positive: 1}
estimator: {kind: logistic_regression}
metrics: {primary: roc_auc}
slices:
  - {name: old, where: age > 60}
gate: {quarantine_at_most: 0.2}
seed: 3
"""


def table() -> str:
    lines = ["person,phone,diagnosis,origin,age,colour,label"]
    for row in range(400):
        age = 18 + row * 7 % 80
        if row % 50 == 7:
            age = 900 + row  # breaks a rule of a column that may be seen
        person = (
            f"{PII}{row:04d}" if row % 50 != 9 else f"{PII.lower()}{row:04d}"
        )  # breaks the pattern of a personal one
        phone = f"{PHONE}{row:04d}" if row % 50 != 11 else f"x{PHONE}{row:04d}"  # does not fit its type
        label = int((age % 100) + row * 37 % 101 > 100)
        lines.append(f"{person},{phone},{DENIED}{row % 9},{AUDIT}{row % 3},{age},{SEEN if row % 3 else 'blue'},{label}")
    return "\n".join(lines) + "\n"


def texts(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """All that can be read in a file: its bytes, and what Parquet or a zip archive have compressed."""
    yield name, content
    if content[:4] == b"PAR1":
        import pyarrow.parquet as pq

        for column, values in pq.read_table(io.BytesIO(content)).to_pydict().items():
            yield f"{name}:{column}", "\n".join(map(str, values)).encode()
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from texts(f"{name}:{member}", archive.read(member))


def places(root: Path, needle: str) -> list[str]:
    pattern = re.compile(re.escape(needle.encode()), re.IGNORECASE)
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in ("people.csv", "mended.csv"):
            found += [
                where for where, text in texts(str(path.relative_to(root)), path.read_bytes()) if pattern.search(text)
            ]
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "people.csv").write_text(table(), encoding="utf-8")
    (folder / "loop.yaml").write_text(CONTRACT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def said(project: Path, kubeloop: Callable[..., Any]) -> str:
    """All that the commands of a whole life of a model print."""
    run = kubeloop("run", "--json", cwd=project)
    assert run.code == 0, run.err + run.out
    assert run.tasks["validate"]["facts"]["quarantined"] > 16, "the planted rows are not in quarantine"
    words = [run.out, run.err]
    (project / "served.log").write_text(asked(project), encoding="utf-8")
    for command in (
        ("runs", "--json"),
        ("status",),
        ("versions", "planted"),
        ("open", "--print"),
        ("open", run.run["run_id"], "--print"),
        ("diff", run.run["run_id"], "planted@1"),
        ("predict", "planted", "people.csv"),
        ("ledger", "show", "--name", "planted"),
        ("quarantine", "list", "planted"),
        ("quarantine", "export", "planted"),
        ("quarantine", "replay", "mended.csv"),
    ):
        if "replay" in command:
            mend(project / "mended.csv")
        done = kubeloop(*command, cwd=project)
        words += [f"{command}: {done.out}", f"{command}: {done.err}"]
        assert "Traceback" not in done.err
    return "\n".join(words)


def mend(file: Path) -> None:
    """What a person does: look at the rows, mend them, and have no copy left once they are replayed."""
    text = file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o077 == 0
    assert f"{PII.lower()}0009" in text
    assert f"{PHONE}0007" in text
    file.write_text(text.replace(PII.lower(), PII), encoding="utf-8")


def asked(project: Path) -> str:
    """What a served model answers to a row and to one with personal values in it; and what the server says."""
    log = project / "server.log"
    rows = [
        {"age": 50, "colour": SEEN},
        {"age": 50, "colour": SEEN, "person": f"{PII}0001", "diagnosis": f"{DENIED}1"},
    ]
    with running_command("serve", "planted", "--port", "0", cwd=project, log=log) as server:
        until(lambda: server.poll() is not None or running(project / ".kubeloop"))
        assert server.poll() is None, log.read_text(encoding="utf-8")
        (entry,) = running(project / ".kubeloop")
        answers = [ask(entry.url, row) for row in rows]
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=180)
    return "\n".join(answers)


def ask(url: str, row: dict[str, Any]) -> str:
    body = json.dumps({"instances": [row]}).encode()
    request = urllib.request.Request(f"{url}/v1/models/planted:predict", body)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=180) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


@pytest.mark.parametrize("needle", [PII, PHONE, DENIED])
def test_personal_and_denied_values_are_in_nothing_that_is_shown_kept_or_logged(
    needle: str, project: Path, said: str
) -> None:
    assert needle.lower() not in said.lower()
    assert places(project, needle) == []


TABLES = re.compile(r"/(ingest|validate|split)/\w+/part-|store/mended/")
"""What tasks hand each other, and rows that come back to them."""


def test_an_audited_group_reaches_no_package_no_log_and_no_mirror(project: Path, said: str) -> None:
    assert [place for place in places(project, AUDIT) if not TABLES.search(place)] == []


def test_what_may_be_seen_is_found_by_the_same_search(project: Path, said: str) -> None:
    kept = " ".join(places(project, SEEN))
    assert all(place in kept for place in ("packages/", "quarantine/part-0", "test/part-0"))
    told = " ".join(places(project, "logistic_regression"))
    assert all(place in told for place in ("mlflow.db", "runs/", "log.txt"))
    shown = " ".join(places(project, "planted"))
    assert all(place in shown for place in ("reports/", "store/mlflow/", "kubeloop.db", "server.log"))
