"""The engine's log is all that is left of a task that broke before it could write a record."""

from kubeloop.pipelines.engine_log import broken, from_cache

LOG = """\
19:03:10.1 - INFO - Task validate-2 cache hit
19:03:10.2 - INFO - Task fit-monitor cache hit
19:03:10.3 - INFO - Task fit-monitor cache hit
    ValueError: of a task that went on all the same
19:03:16.4 - INFO - Executing task \x1b[96m'fit-monitor'\x1b[0m
    Traceback (most recent call last):
      File "family.py", line 11, in <module>
    some.library.MissingError: a value of a row
19:03:17.1 - ERROR - Task \x1b[96m'fit-monitor'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
19:03:18.0 - INFO - Task \x1b[96m'clean-up'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
RuntimeError: Pipeline 'train' finished with status FAILURE. Inner task failed: 'fit-monitor'.
"""


def test_the_task_that_broke_is_named_with_its_error_and_nothing_that_it_says() -> None:
    assert broken(LOG) == ("fit_monitor", "MissingError")


def test_an_engine_that_broke_by_itself_is_no_tasks_fault() -> None:
    assert broken("RuntimeError: no such pipeline\n") is None


def test_a_task_without_an_error_is_named_all_the_same() -> None:
    assert broken("Task 'ingest' finished with status FAILURE") == ("ingest", "no error that it could name")


def test_tasks_from_the_cache_are_told_once_in_their_order() -> None:
    assert from_cache(LOG) == ["validate_2", "fit_monitor"]
