"""`kubeloop import`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.cli.options import CONTRACT, HOME, JSON, console
from kubeloop.errors import InputError

if TYPE_CHECKING:
    from kubeloop.contract import Contract
    from kubeloop.site import Site


@click.command(
    "import",
    epilog="""\b
Examples:
  kubeloop import model.skops                 # skops.io.dump(pipeline, "model.skops"); pickle is never read
  kubeloop import model.skops examples/heart/loop.yaml --unseen-test""",
)
@click.argument("model", type=click.Path(path_type=Path))
@CONTRACT
@click.option("--unseen-test", is_flag=True, help="You vouch that MODEL was not fitted on test rows of this contract.")
@HOME
@click.option("--wait", "wait_s", default=600.0, show_default=True, help="Seconds to wait for another run to end.")
@JSON
def command(model: Path, contract: Path, unseen_test: bool, home: Path | None, wait_s: float, as_json: bool) -> None:
    """Run the loop of CONTRACT with MODEL, a fitted scikit-learn pipeline, in place of its estimator.

    The model is judged by the same gates, packaged with the same manifest and served by the same endpoint. It must read
    columns of the contract: numbers as float64, categories as text.
    """
    from kubeloop.cli.run_ import run_and_show, run_as_json

    content = _content(model)

    def change(found: "Contract", site: "Site") -> "Contract":
        return _with_model(found, site, content, unseen_test)

    if as_json:
        run_as_json(contract, home, wait_s, console(stderr=True), change)
    else:
        run_and_show(contract, home, wait_s, console(), change)


def _content(model: Path) -> bytes:
    """The file's bytes, once nothing in them is strange: refused before a run begins.

    Raises:
        InputError: There is no such file, or it is a pickle.
        IntegrityError: The file is damaged, or holds what no model file may hold.
    """
    from kubeloop.learning.estimator_file import read_estimator_bytes

    try:
        content = model.read_bytes()
    except OSError as error:
        raise InputError(
            f"a model file was expected at {model}, but {error.strerror}", "correct the path", file=str(model)
        ) from error
    if content[:1] == b"\x80" or model.suffix in (".pkl", ".pickle", ".joblib"):
        raise InputError(
            f"{model.name} is a pickle, which runs whatever code it brings when it is read",
            "load it where you trust it, and write it with skops.io.dump(model, 'model.skops')",
            file=str(model),
        )
    read_estimator_bytes(content, model.name)
    return content


def _with_model(contract: "Contract", site: "Site", content: bytes, unseen_test: bool) -> "Contract":
    """The contract with the model as its estimator; the file is kept in the home under its digest."""
    import hashlib

    from kubeloop.contract.check import check
    from kubeloop.contract.estimator import Estimator
    from kubeloop.learning.imported import FOLDER

    assert site.home is not None
    digest = "sha256-" + hashlib.sha256(content).hexdigest()
    path = site.home / FOLDER / f"{digest}.skops"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
    estimator = Estimator(kind="imported", file=f"{FOLDER}/{path.name}", digest=digest, unseen_test=unseen_test)
    changed = contract.model_copy(update={"estimator": estimator})
    check(changed)
    return changed
