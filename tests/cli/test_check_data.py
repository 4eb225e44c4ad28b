"""`kubeloop check --data` says before a run what the run would be refused for, and leaves nothing behind."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from kubeloop.cli.main import cli
from kubeloop.errors import InputError

CONTRACT = """
kubeloop: 1
name: toy
data:
  sources: [{name: people, path: people.csv}]
  columns:
    age: {type: number, minimum: 18}
    dose: {type: number}
    ill: {type: integer}
target: {column: ill, task: binary}
estimator: {kind: logistic_regression}
metrics: {primary: accuracy}
"""


def rows(count: int, age: str = "30") -> str:
    return "".join(f"{age},{(place * 7919 % 997) / 100},{place % 3 % 2}\n" for place in range(count))


def checked(folder: Path, people: str, *words: str, more: str = "") -> Result:
    (folder / "people.csv").write_text("age,dose,ill\n" + people)
    (folder / "loop.yaml").write_text(CONTRACT + more)
    done = CliRunner().invoke(cli, ["check", str(folder), "--data", *words])
    assert sorted(path.name for path in folder.iterdir()) == ["loop.yaml", "people.csv"]
    return done


def test_good_rows(tmp_path: Path) -> None:
    done = checked(tmp_path, rows(200))
    assert done.exit_code == 0, done.output
    assert "200 rows read, 200 keep all rules, 0 do not" in done.output
    assert "a run would go on to training" in done.output


def test_rows_that_the_gate_refuses_are_named(tmp_path: Path) -> None:
    done = checked(tmp_path, rows(180) + rows(20, age="3"))
    assert done.exit_code == 3
    assert "age >= 18: broken by 20 (10%), first rows 181, 182, 183, 184, 185" in done.output
    assert "fail: 20 of 200 rows (10%) break a row rule; at most 5% may" in done.output
    assert "a run would be refused" in done.output
    document = json.loads(checked(tmp_path, rows(180) + rows(20, age="3"), "--json").output)
    assert (document["passes"], document["decision"]["verdict"], document["split"]) == (False, "fail", None)


def test_a_split_that_gives_test_rows_away_is_refused(tmp_path: Path) -> None:
    done = checked(tmp_path, rows(6), more="split: {test: 0.001}\n")
    assert done.exit_code == 3
    assert "fail: test rows were expected, but none of 6 rows falls to the test side" in done.output


def test_a_source_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    done = checked(tmp_path, "30,2,1\n1,2\n")
    assert isinstance(done.exception, InputError)
    assert done.exception.problem.startswith("people.csv:3: ")
