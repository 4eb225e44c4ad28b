"""What every component's body runs under: the Site, the run's id, a record of how it went."""

import datetime as dt
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from kubeloop import __version__
from kubeloop.decisions import Decision
from kubeloop.errors import KubeloopError, PermanentError, RefusedError
from kubeloop.site.addresses import disk_full
from kubeloop.site.load import load_site
from kubeloop.site.model import Site
from kubeloop.site.processes import OWNER, surrounded
from kubeloop.tracking.finite import plain
from kubeloop.tracking.record import PROGRESS, TaskRecord, TaskStatus, read_run, write_task

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass
class TaskContext:
    """What a task knows, and where it puts what it found.

    Attributes:
        site: Where it runs.
        run_id: The run it belongs to.
        now: When it began, UTC; the task's only clock.
        name: The task's.
        facts: What it found; sanitised when written.
        decision: What its gate said.
        figures: Text of pages and pictures for MLflow, by file name.
    """

    site: Site
    run_id: str
    now: dt.datetime
    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    decision: Decision | None = None
    figures: dict[str, str] = field(default_factory=dict)

    def tell(self, words: str) -> None:
        """Tell whoever waits what a long task is at, until it ends, and its log."""
        sys.stdout.write(f"{words}\n")
        sys.stdout.flush()
        with suppress(OSError, KubeloopError):  # no work ends because nobody could be told of it
            _record(replace(self, facts={PROGRESS: words}), "running", None)


@contextmanager
def task(name: str, environ: Mapping[str, str] = os.environ) -> Iterator[TaskContext]:
    """Run a task's body: recorded as `running` at once, and as `done`, `refused` or `failed` at its end.

    The run is `$KUBELOOP_RUN_ID`, else `adhoc`. BLAS and OpenMP get one thread, without which two runs need not agree
    in their last bits.

    Raises:
        PermanentError: `$KUBELOOP_COMPILED` names another version of kubeloop than the one installed.
        InputError: The disk is full.
        KubeloopError: What the body raised, after it was recorded.
    """
    _refuse_other_version(environ)
    run_id = environ.get("KUBELOOP_RUN_ID") or "adhoc"
    context = TaskContext(load_site(environ), run_id, dt.datetime.now(dt.UTC), name)
    _record(context, "running", None)
    with _one_thread():
        try:
            yield context
            _enter_decision(context)
            _record(context, "done", None)
        except KubeloopError as error:
            with suppress(OSError, KubeloopError):  # what stopped the task matters more than its record
                _record(context, "refused" if isinstance(error, RefusedError) else "failed", error.to_dict())
                _mirror(context, environ, stopped=True)
            raise
        except BaseException as error:
            full = disk_full(error, context.site.store) if isinstance(error, OSError) else None
            with suppress(OSError, KubeloopError):
                _record(context, "failed", full.to_dict() if full else _unforeseen(context.name, error))
                _mirror(context, environ, stopped=True)
            if full is None:
                raise
            raise full from error
        else:
            _mirror(context, environ, stopped=False)


def _enter_decision(context: TaskContext) -> None:
    """Put what the gate said into the ledger, before the task may count as done."""
    if context.decision is None:
        return
    from kubeloop.ledger import append, mark_head
    from kubeloop.store import open_engine

    said = context.decision
    body = {
        "run": context.run_id,
        "task": context.name,
        "gate": said.gate,
        "verdict": said.verdict,
        "baseline": said.baseline,
        "reasons": said.reasons,
    }
    engine = open_engine(context.site)
    try:
        append(engine, context.site.namespace, "decision", body, context.now)
        mark_head(engine, context.site)
    finally:
        engine.dispose()


def _mirror(context: TaskContext, environ: Mapping[str, str], *, stopped: bool) -> None:
    """Tell MLflow of the run so far, where nobody drives it: on a cluster no task knows whether it is the last.

    Only where there is news: a gate spoke, the task was stopped, KFP began a run for it, or MLflow is loaded anyway.
    """
    if OWNER in environ or not environ.get("KUBELOOP_RUN_ID"):
        return
    if not (stopped or context.decision or environ.get("MLFLOW_RUN_ID") or "mlflow" in sys.modules):
        return
    from kubeloop.tracking.mirror import DONE, mirror

    with suppress(KubeloopError, OSError):
        told = mirror(context.site, read_run(context.site, context.run_id), context.figures)
        if told != DONE:
            sys.stderr.write(f"kubeloop: the mirror in MLflow: {told}\n")


def _record(context: TaskContext, status: TaskStatus, error: dict[str, Any] | None) -> None:
    finished = None if status == "running" else dt.datetime.now(dt.UTC)
    write_task(
        context.site,
        context.run_id,
        TaskRecord(
            task=context.name,
            status=status,
            started=context.now,
            finished=finished,
            facts=context.facts if status == "done" else _writable(context.facts),
            decision=context.decision,
            error=error,
        ),
    )


def _writable(facts: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in facts.items():
        with suppress(TypeError):  # no JSON: the task fails for it, and its record must still be written
            kept[key] = plain(value)
    return kept


def _unforeseen(name: str, error: BaseException) -> dict[str, Any]:
    # Only class and place: the message of a foreign error may quote a row.
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "an unknown place"  # noqa: PTH119
    return PermanentError(
        f"the task {name} broke with {type(error).__name__} at {place}", "see the task's log, and report it", task=name
    ).to_dict()


def _refuse_other_version(environ: Mapping[str, str]) -> None:
    compiled = environ.get("KUBELOOP_COMPILED")
    if compiled and compiled != __version__:
        raise PermanentError(
            f"the pipeline was compiled by kubeloop {compiled}, and this task runs {__version__}",
            "compile the pipeline again with the installed version, or install the other one",
            compiled=compiled,
            installed=__version__,
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    with ExitStack() as stack:
        # The variables bind libraries that are loaded later, threadpoolctl those already here.
        stack.enter_context(surrounded(**dict.fromkeys(_THREADS, "1")))
        if "numpy" in sys.modules:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(limits=1))
        yield
