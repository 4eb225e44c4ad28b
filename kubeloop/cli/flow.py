"""The work behind `kubeloop run` and `kubeloop.run`: one contract, one run, one page."""

import datetime as dt
import secrets
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kubeloop.contract import Contract
from kubeloop.site import Site
from kubeloop.tracking.record import RunRecord, TaskRecord

Change = Callable[[Contract, Site], Contract]


@dataclass(frozen=True, repr=False)
class Outcome:
    """A finished run.

    Attributes:
        record: What happened; `record.status` is done, refused or failed.
        page: The run's report.
    """

    record: RunRecord
    page: Path

    def __repr__(self) -> str:
        return f"<run {self.record.run_id}: {self.record.status}, page {self.page}>"


def home_of(contract: Path, given: Path | None) -> Path:
    """The home of a contract: what was asked for, else `.kubeloop` beside loop.yaml."""
    return (given or contract.resolve().parent / ".kubeloop").resolve()


def new_run_id(name: str, now: dt.datetime) -> str:
    """A run id that sorts by time and does not collide."""
    return f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_contract(
    path: Path,
    home: Path | None,
    *,
    wait_s: float,
    on_wait: Callable[[str], None],
    on_task: Callable[[TaskRecord], None],
    change: Change | None = None,
    site_name: str = "laptop",
) -> Outcome:
    """Run the train pipeline of a contract on this machine, and serve what passes where the Site says.

    Args:
        path: loop.yaml.
        home: State root; None for the one beside loop.yaml.
        wait_s: How long to wait for another run of this home, in seconds.
        on_wait: Told once when another run is waited for.
        on_task: Told when a task begins and ends.
        change: Makes the contract that is run of the one that was read.
        site_name: Which Site; the tasks read its file.

    Raises:
        InputError: The contract is wrong, or another run did not end in time.
    """
    from kubeloop.contract.load import read_contract
    from kubeloop.contract.sites import at_site
    from kubeloop.site.load import named_site, site_folder
    from kubeloop.site.processes import end_orphans, surrounded
    from kubeloop.store.locks import BusyError, lock

    contract = at_site(read_contract(path), site_name)
    site = named_site(home_of(path, home), site_name, path.resolve().parent)
    assert site.home is not None
    with ExitStack() as held:
        if site_name != "laptop":
            held.enter_context(surrounded(KUBELOOP_SITE_DIR=str(site_folder(site.home, site_name))))
        what = f"a run of {contract.name}"
        try:
            held.enter_context(lock(site, "run", 0, what))
        except BusyError as busy:
            on_wait(f"waiting: {busy.problem}")
            held.enter_context(lock(site, "run", wait_s, what))
        end_orphans(site.home)
        contract = change(contract, site) if change is not None else contract
        return _run(contract, path, site, on_task)


def _run(contract: Contract, path: Path, site: Site, on_task: Callable[[TaskRecord], None]) -> Outcome:
    from kubeloop.experiments.leftover import note, take_back
    from kubeloop.pipelines.arguments import train_arguments
    from kubeloop.pipelines.compile import compiled_path
    from kubeloop.pipelines.local import Job, run_job
    from kubeloop.reports.words import TRAIN
    from kubeloop.tracking.mirror import prepare
    from kubeloop.tracking.outbox import owe
    from kubeloop.tracking.provenance import provenance

    assert site.home is not None
    now = dt.datetime.now(dt.UTC)
    job = Job(
        run_id=new_run_id(contract.name, now),
        name=contract.name,
        pipeline=compiled_path("train"),
        arguments=train_arguments(contract),
        expected=TRAIN,
        facts={"contract": path.name, "pipeline": "kubeloop-train"} | provenance(contract, path.resolve().parent),
    )
    owe(site.home, job.run_id)
    preparing = prepare(tracking_site(site))
    take_back(site)  # what a killed run has left
    if contract.search is not None:
        note(site, contract.name, job.run_id)
    try:
        record = run_job(job, site, on_task, now)
    finally:
        _tidy(site)  # no exit handler runs when the pipeline's engine is killed
    page = write_page(record, site)
    preparing.join()
    return Outcome(tell_mlflow(record, site), page)


def _tidy(site: Site) -> None:
    """Take this run's search back; where the cluster does not answer now, the next run does."""
    from kubeloop.errors import KubeloopError
    from kubeloop.experiments.leftover import take_back

    try:
        take_back(site)
    except KubeloopError as error:
        sys.stderr.write(f"warning: what the search left on the cluster is there still, until the next run: {error}\n")


def tracking_site(site: Site) -> Site:
    """The site whose MLflow the tasks of a local run would tell."""
    from kubeloop.site import load_site
    from kubeloop.site.processes import child_environment

    assert site.home is not None
    return load_site(child_environment(site.home))


def tell_mlflow(record: RunRecord, site: Site) -> RunRecord:
    """Mirror a run, and what earlier ones still owe; gives its record, which says how that went."""
    from kubeloop.reports.loose_figures import files_of
    from kubeloop.tracking.mirror import mirror_owed
    from kubeloop.tracking.record import write_run

    assert site.home is not None
    told = mirror_owed(tracking_site(site), site, site.home, lambda run: files_of(write_page(run, site)))
    noted = record.model_copy(
        update={"facts": record.facts | {"mirror": told.get(record.run_id, "waits for an earlier run")}}
    )
    write_run(site, noted)
    return noted


def write_page(record: RunRecord, site: Site) -> Path:
    """Write a run's report and return where it is."""
    from kubeloop.reports.run_page import run_page

    assert site.home is not None
    page = site.home / "reports" / f"{record.run_id}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    fresh = page.with_suffix(".tmp")
    fresh.write_text(run_page(record, site), encoding="utf-8")
    fresh.replace(page)
    return page
