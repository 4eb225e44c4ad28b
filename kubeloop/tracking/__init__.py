"""Runs: what each task saw and said, under which run; mirrored to MLflow."""

from kubeloop.tracking.finite import finite, plain
from kubeloop.tracking.record import RunRecord, TaskRecord, list_runs, read_run, write_run, write_task
from kubeloop.tracking.task import TaskContext, task

__all__ = [
    "RunRecord",
    "TaskContext",
    "TaskRecord",
    "finite",
    "list_runs",
    "plain",
    "read_run",
    "task",
    "write_run",
    "write_task",
]
