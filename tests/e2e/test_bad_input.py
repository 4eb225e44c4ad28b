"""What bad input gets, at the front door: exit 2, the place, the mend, and nothing half-written."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

CONTRACT = """\
kubeloop: 1
name: small
data:
  sources:
    - {name: rows, path: rows.csv}
  columns:
    size: {type: number}
    colour: {type: category}
    label: {type: integer}
target: {column: label, task: binary, positive: 1}
estimator: {kind: logistic_regression}
metrics: {primary: roc_auc}
"""
HEADER = "size,colour,label"
ROWS = [f"{index % 17},{'red' if index % 3 else 'blue'},{index % 2}" for index in range(200)]


def text(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


TABLES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "rows.csv"),
    "empty": (b"", "empty"),
    "header only": (text(HEADER), "header"),
    "duplicate header": (text("size,colour,size,label", *(f"1,{row}" for row in ROWS)), "size"),
    "wrong encoding": (text(HEADER, *ROWS).replace(b"red", b"r\xe9d"), "UTF-8"),
    "ragged rows": (text(HEADER, *ROWS[:50], "1,red,0,extra", *ROWS[50:]), "line 52"),
    "target missing": (text("size,colour,sort", *ROWS), "label"),
    "target constant": (text(HEADER, *(row[:-1] + "1" for row in ROWS)), "label"),
    "all-null column": (text(HEADER, *("," + row.split(",", 1)[1] for row in ROWS)), "size"),
    "infinite value": (text(HEADER, *ROWS[:9], "inf,red,1", *ROWS[9:]), "infinit"),
    "one row": (text(HEADER, ROWS[0]), "at least 2 rows"),
}


@pytest.fixture
def front_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int | str | None, str, str]]:
    """The command line in this process, which has paid for its imports: exit code, output, errors."""
    from kubeloop.cli.main import main

    def ask(*words: str) -> tuple[int | str | None, str, str]:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            with pytest.raises(SystemExit) as ended:
                main(list(words))
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return ask


@pytest.mark.parametrize("case", TABLES)
def test_bad_table(case: str, tmp_path: Path, front_door: Callable[..., tuple[int, str, str]]) -> None:
    content, named = TABLES[case]
    (tmp_path / "loop.yaml").write_text(CONTRACT, encoding="utf-8")
    if content is not None:
        (tmp_path / "rows.csv").write_bytes(content)
    code, out, err = front_door("run")
    assert code == 2, err + out
    assert "Traceback" not in err + out
    assert named in err
    assert "fix: " in err
    assert not (tmp_path / ".kubeloop" / "store" / "packages").exists()


@pytest.mark.parametrize(
    ("old", "new", "place", "named"),
    [
        ("estimator:", "estimater:", "loop.yaml:11:", "did you mean 'estimator'"),
        ("primary: roc_auc", "primary: rmse", "loop.yaml:12:", "rmse"),
        ("kind: logistic_regression", "kind: logistic_regresion", "loop.yaml:11:", "logistic_regression"),
    ],
)
def test_bad_contract(
    old: str, new: str, place: str, named: str, tmp_path: Path, front_door: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "loop.yaml").write_text(CONTRACT.replace(old, new), encoding="utf-8")
    (tmp_path / "rows.csv").write_bytes(text(HEADER, *ROWS))
    for command in ("check", "run"):
        code, _, err = front_door(command)
        assert code == 2
        assert place in err
        assert named in err
        assert not (tmp_path / ".kubeloop").exists()


def test_full_disk(tmp_path: Path, environment: Callable[[], dict[str, str]]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "loop.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "rows.csv").write_bytes(text(HEADER, *ROWS))
    script = 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && exec "$@"'
    allowed = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    if not allowed:
        pytest.skip("a tmpfs needs a user namespace, which this machine does not allow")
    said = subprocess.run(
        [
            *["unshare", "-rm", "sh", "-c", script, "sh", str(home), sys.executable, "-m", "kubeloop.cli.main"],
            *["run", str(tmp_path / "loop.yaml"), "--home", str(home)],
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 2, said.stderr + said.stdout
    assert "no space left" in said.stderr
    assert "Traceback" not in said.stderr + said.stdout


def test_a_second_run_at_the_same_time_says_so(tmp_path: Path, kubeloop: Callable[..., Any]) -> None:
    from kubeloop.site import laptop
    from kubeloop.store.locks import lock

    (tmp_path / "loop.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "rows.csv").write_bytes(text(HEADER, *ROWS))
    with lock(laptop(tmp_path / ".kubeloop", tmp_path), "run", 5.0, "a run of small"):
        said = kubeloop("run", "--wait", "0.5", cwd=tmp_path)
    assert said.code == 2
    assert "waiting" in said.out
    assert "a run of small" in said.err


def test_a_second_run_at_the_same_time_waits_its_turn(tmp_path: Path, kubeloop: Callable[..., Any]) -> None:
    (tmp_path / "loop.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "rows.csv").write_bytes(text(HEADER))
    said: list[Any] = []
    both = [threading.Thread(target=lambda: said.append(kubeloop("run", "--json", cwd=tmp_path))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert [each.code for each in said] == [2, 2], "the table has no row"
    runs = json.loads(kubeloop("runs", "--json", cwd=tmp_path).out)
    earlier, later = sorted(runs, key=lambda run: run["started"])
    assert earlier["finished"] <= later["started"], "they ran at the same time"
