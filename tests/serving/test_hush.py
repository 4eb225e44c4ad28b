"""What only libraries could mend stays out of the log, however their threads meet."""

import warnings
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter

from kubeloop.serving.server import hush


@pytest.mark.parametrize(("hushed", "said"), [(True, 0), (False, 1)])
def test_a_warning_that_another_thread_let_out_again(hushed: bool, said: int) -> None:
    """Whoever came first leaves first, and takes back what the other had ignored."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        if hushed:
            hush()
        first, second = warnings.catch_warnings(), warnings.catch_warnings()
        first.__enter__()
        second.__enter__()
        warnings.simplefilter("ignore")
        first.__exit__(None, None, None)
        TypeAdapter(Annotated[int, Field(alias="other")])
        second.__exit__(None, None, None)
    assert len(found) == said, [str(each.message) for each in found]
