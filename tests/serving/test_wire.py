"""What each mode gives, without a server."""

import numpy as np
import pytest

from kubeloop.errors import InputError, PermanentError
from kubeloop.learning.answers import Answers
from kubeloop.serving import wire

ANSWERS = Answers(labels=np.array([3, 5], dtype=object), probabilities=np.array([[0.75, 0.25], [0.5, 0.5]]))


def test_modes() -> None:
    assert wire.v1_answer(ANSWERS, "labels") == {"predictions": [3, 5]}
    assert wire.v1_answer(ANSWERS, "probabilities") == wire.v1_answer(ANSWERS, "both")
    for mode, names in (
        ("labels", ["predictions"]),
        ("probabilities", ["probabilities"]),
        ("both", list(wire.OUTPUTS)),
    ):
        assert [tensor.name for tensor in wire.v2_tensors(ANSWERS, mode, (), [3, 5])] == names  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is no output 'probabilities'"):
        wire.v2_tensors(ANSWERS, "labels", ["probabilities"], [3, 5])


def test_label_datatypes() -> None:
    for classes, datatype in (([3, 5], "INT64"), ([True, False], "BOOL"), ([1.5, 2], "FP64"), ([1, "a"], "BYTES")):
        assert wire.label_datatype(classes) == datatype


def test_an_answer_that_is_no_number_is_our_fault() -> None:
    with pytest.raises(PermanentError, match="no finite number"):
        wire.v1_answer(Answers(values=np.array([1.0, np.nan])), "both")
