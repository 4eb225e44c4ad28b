"""`kubeloop predict`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, console, existing_site, shown_path
from kubeloop.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from kubeloop.packaging.package import Package

_STREAMED = (".csv", ".parquet")


@click.command(
    "predict",
    epilog="""\b
Examples:
  kubeloop predict heart --in new.csv --out answers.csv
  kubeloop predict heart@3 --in new.parquet
  kubeloop predict heart --in new.csv --out answers.csv --pipeline
  kubeloop predict heart --in s3://lake/new.parquet --out s3://lake/answers.parquet --host http://localhost:8888
  echo '[{"age": 63, "sex": 1}]' | kubeloop predict heart --in -""",
)
@click.argument("model")
@HOME
@click.option("--in", "rows", required=True, metavar="FILE", help="CSV, Parquet, JSON rows, or - for JSON on stdin.")
@click.option("--out", metavar="FILE", help="CSV or Parquet to write.  [default: JSON to stdout]")
@click.option("--pipeline", is_flag=True, help="Run it as the compiled pipeline, with a record of each task.")
@click.option("--host", help="URL of a KFP API: run that pipeline there; both files are addresses such as s3://.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    default="images.lock",
    show_default=True,
    help="For --host: YAML of each image of the pipeline, and the name:tag@sha256:... that runs in its place.",
)
def command(
    model: str, home: Path | None, rows: str, out: str | None, pipeline: bool, host: str | None, images: Path
) -> None:
    """Score rows with MODEL: NAME (its champion), NAME@VERSION, NAME@DIGEST.

    The answers are those of the endpoint: the same package, the same checks of the input.

    A CSV or Parquet file with --out is scored in batches, in bounded memory: a row that is refused gets no answer
    and a line with its reason in a file beside --out (answers.csv: answers.quarantine.csv), and a run that was
    stopped is taken up where it was.
    """
    if pipeline or host:
        _as_pipeline(model, home, rows, out, host, images)
    else:
        _here(model, home, rows, None if out is None else Path(out))


def _here(model: str, home: Path | None, rows: str, out: Path | None) -> None:
    from kubeloop.cli.api import load

    if out is not None:
        _check_out(out)
    package = load(model, home=home)
    if out is not None and Path(rows).suffix in _STREAMED and Path(rows).is_file():
        _stream(package, Path(rows), out)
        return
    answers = answers_frame(package.predict(read_rows(rows)), package.classes)
    if out is None:
        # Not `to_json`, which rounds: the answer is the endpoint's to the last digit.
        click.echo(json.dumps(answers.to_dict(orient="records")))
        return
    fresh = out.with_name(out.name + ".tmp")
    if out.suffix == ".parquet":
        answers.to_parquet(fresh, index=False)
    else:
        answers.to_csv(fresh, index=False)
    fresh.replace(out)
    click.echo(f"wrote  {shown_path(out)}  ({len(answers):,} rows, package {package.digest[7:19]})")


def _as_pipeline(model: str, home: Path | None, rows: str, out: str | None, host: str | None, images: Path) -> None:
    from kubeloop.cli import score
    from kubeloop.cli.steps import Steps

    if out is None:
        raise InputError("a pipeline writes its answers into a file", "name one with --out")
    given = score.arguments(model, rows, out, here=host is None)
    if host is not None:
        score.submit(host, images, given)
        return
    steps = Steps(console())
    try:
        record = score.run_here(existing_site(home), given, steps)
    finally:
        steps.stop()
    facts = record.tasks[-1].facts
    click.echo(f"\nwrote  {shown_path(Path(facts['out']))}  ({facts['rows']:,} rows)")
    if facts["quarantine_out"]:
        _say_refused(shown_path(Path(facts["quarantine_out"])), facts["refused"])


def _say_refused(place: str, refused: int) -> None:
    click.echo(f"wrote  {place}  ({refused:,} rows have no answer, with the reasons)")


def _stream(package: "Package", source: Path, out: Path) -> None:
    from kubeloop.scoring.batch import score_file
    from kubeloop.scoring.scorer import load_scorer

    scored = score_file(package, load_scorer(package), source, out)
    early = f", {scored.taken_up:,} of them by an earlier run" if scored.taken_up else ""
    click.echo(f"wrote  {shown_path(out)}  ({scored.rows:,} rows{early}, package {package.digest[7:19]})")
    if scored.quarantine is not None:
        _say_refused(shown_path(scored.quarantine), scored.refused)


def _check_out(out: Path) -> None:
    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"a file that ends in .csv or .parquet was expected after --out, got {out}", "name it so")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent} to write {out.name} into", "make it first")


def read_rows(place: str) -> Any:
    """Rows from a file or from standard input: a frame, or a list of JSON rows.

    Raises:
        InputError: The file is missing, or not what its ending says.
    """
    import pandas as pd

    from kubeloop.data.csv_files import MISSING, read_header

    if place == "-":
        return _json_rows(sys.stdin.read(), "standard input")
    path = Path(place)
    if not path.is_file():
        raise InputError(f"a file with rows was expected at {place}, but there is none", "check the path after --in")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".json":
            return _json_rows(path.read_text(encoding="utf-8"), place)
        header = read_header(path, place)  # the same eyes as at ingest
        return pd.read_csv(path, sep=header.delimiter, na_values=list(MISSING), encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise InputError(
            f"{place} cannot be read as {path.suffix or 'CSV'}: {error}", "give CSV, Parquet or JSON rows"
        ) from error


def _json_rows(text: str, place: str) -> list[Any]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise InputError(f"JSON rows were expected from {place}: {error}", "give a list of objects") from error
    if not isinstance(rows, list):
        raise InputError(f"a list of rows was expected from {place}, got {type(rows).__name__}", "wrap the row in [ ]")
    return rows


def answers_frame(answers: Any, classes: list[Any] | None) -> "pd.DataFrame":
    """Answers as a table: `prediction`, and a `probability_<class>` column per class."""
    import pandas as pd

    frame = pd.DataFrame({"prediction": answers.values if answers.labels is None else answers.labels})
    if answers.probabilities is not None:
        for index, label in enumerate(classes or []):
            frame[f"probability_{label}"] = answers.probabilities[:, index]
    return frame
