"""What a challenger is held against. Only a registry that answered may say that there is nothing to hold it against."""

import sqlalchemy as sa

from kubeloop.errors import KubeloopError
from kubeloop.evaluation.baseline import Baseline
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import present_champion
from kubeloop.site.model import Site
from kubeloop.tracking.record import list_runs


def champion_baseline(site: Site, name: str) -> Baseline:
    """The champion, ready to answer; `none_yet` if the registry has no champion row; else `unavailable`.

    A database that does not answer, a package that is missing, altered or no longer answers its golden requests: all
    are `unavailable`, with the detail, and never raise; so is a database without the champion that earlier runs
    deployed. `unavailable` passes no gate.
    """
    digest = None
    try:
        row = present_champion(site, name)
        if row is None:
            return _without_row(site, name)
        digest = row.digest
        package = read_package(fetch(site, digest), digest, site)
        package.prove()
    except KubeloopError as error:
        return Baseline("unavailable", None, None, digest, error.problem)
    except (sa.exc.SQLAlchemyError, OSError, ValueError) as error:
        # Only the class: a driver's message can quote the URL with its password.
        return Baseline("unavailable", None, None, digest, f"the registry does not answer ({type(error).__name__})")
    manifest = package.manifest
    detail = f"the champion is {digest[7:19]}"
    return Baseline("champion", package.predict, manifest.training_rows, digest, detail, package.classes)


def deployed_before(site: Site) -> set[str]:
    """Names that a run of this namespace has deployed, by the runs' own records, which live apart from the registry."""
    tasks = (task for run in list_runs(site) if run.namespace == site.namespace for task in run.tasks)
    return {str(task.facts["name"]) for task in tasks if task.task == "deploy" and task.status == "done"}


def _without_row(site: Site, name: str) -> Baseline:
    # A lost database answers too; only the runs still know that there was a champion.
    if name in deployed_before(site):
        lost = (
            f"runs of {name} were deployed here, but the registry knows no champion: its database was lost or replaced"
        )
        return Baseline("unavailable", None, None, None, lost)
    return Baseline("none_yet", None, None, None, f"{name} has no champion yet")
