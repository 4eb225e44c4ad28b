"""`import kubeloop` for notebooks: run a contract, load a model."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeloop.cli.flow import Outcome
    from kubeloop.packaging.package import Package


def run(contract: str | Path = "loop.yaml", *, home: str | Path | None = None, quiet: bool = False) -> "Outcome":
    """Run the loop of a contract on this machine, as `kubeloop run` does.

    Args:
        contract: Path of loop.yaml.
        home: State root; `.kubeloop` beside loop.yaml by default.
        quiet: Print no line per step.

    Returns:
        The outcome: `record` (status, tasks, facts, decision) and `page` (the report).

    Raises:
        RefusedError: A gate refused; the message holds its reasons.
        InputError: The contract or the data is wrong.

    Example:
        >>> import kubeloop
        >>> outcome = kubeloop.run("examples/heart/loop.yaml")  # doctest: +SKIP
        >>> outcome.record.status  # doctest: +SKIP
        'done'
    """
    from rich.console import Console

    from kubeloop.cli.flow import run_contract
    from kubeloop.cli.steps import Steps
    from kubeloop.pipelines.local import raise_for

    console = Console(quiet=quiet, highlight=False)
    steps = Steps(console)
    try:
        outcome = run_contract(
            Path(contract), Path(home) if home else None, wait_s=600.0, on_wait=console.print, on_task=steps
        )
    finally:
        steps.stop()
    raise_for(outcome.record)
    return outcome


def load(model: str, *, home: str | Path | None = None) -> "Package":
    """Load a registered model, every byte of it verified.

    Args:
        model: `heart` or `heart@champion`, `heart@challenger`, `heart@3` or `heart@1.2.0` (a version), or
            `heart@sha256-...` (a digest, or its first digits).
        home: State root; `$KUBELOOP_HOME` or `.kubeloop` here by default.

    Returns:
        The package; `predict(frame)` answers as the endpoint does.

    Raises:
        InputError: There is no such model or version.
        IntegrityError: The package is not what its digest says.
    """
    import os

    from kubeloop.cli.options import existing_site
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch
    from kubeloop.registry.find import find
    from kubeloop.store import open_engine

    place = home or os.environ.get("KUBELOOP_HOME")
    site = existing_site(Path(place) if place else None)
    name, _, which = model.partition("@")
    digest = find(open_engine(site), site.namespace, name, which or "champion").digest
    return read_package(fetch(site, digest), digest, site)
