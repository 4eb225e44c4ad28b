"""What a run that was killed in the middle of a search left on a cluster: taken away by the next run of its home.

A run of a laptop has no exit handler that outlives `kill -9`. So it is noted before it begins, in a file of the home
named by the run, which is removed once nothing of it can be on the cluster any more.
"""

from pathlib import Path

from kubeloop.site.model import Site

FOLDER = "away"
"""Below the home: a folder a Site."""


def note(site: Site, name: str, run_id: str) -> None:
    """Note that a run may search on the Site's cluster; on a machine without one there is nothing to note.

    Args:
        site: With a home.
        name: The contract's, from which with the run's id the Experiment's follows.
        run_id: Of the run that begins.
    """
    if site.cluster is None:
        return
    folder = _folder(site)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{run_id}"
    beside.write_text(name, encoding="utf-8")
    beside.replace(folder / run_id)


def take_back(site: Site) -> list[str]:
    """Delete the Experiments, and the rows in the store, of all runs that are noted; for whoever holds the run lock.

    Args:
        site: With a home.

    Returns:
        Ids of the runs whose Experiment was there still.

    Raises:
        KubeloopError: As `clean_up`; what could not be removed stays noted.
    """
    marks = sorted(_folder(site).glob("[!.]*"))
    if not marks:
        return []
    from kubeloop.experiments.away import clean_up

    found = []
    for mark in marks:
        if clean_up(site, mark.read_text(encoding="utf-8"), mark.name):
            found.append(mark.name)
        mark.unlink()
    return found


def _folder(site: Site) -> Path:
    assert site.home is not None  # of a run on this machine
    return site.home / FOLDER / site.namespace / site.name
