"""What could not be compiled is answered, and refused, word for word as what could: scikit-learn itself scores."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from kubeloop.errors import InputError
from kubeloop.serving import wire
from kubeloop.serving.model import PackageModel
from tests.serving import fuzzing
from tests.serving.test_wrong_requests import MATRIX

Models = tuple[PackageModel, PackageModel]


@pytest.fixture(scope="module")
def models(packages: tuple[Path, Path]) -> Iterator[Models]:
    """The same package with its plan, and without."""
    planned, plain = PackageModel("toy", packages[0], None), PackageModel("toy", packages[0], None)
    for model in (planned, plain):
        model.open()
    assert planned.scorer is not None
    plain.scorer = None
    yield planned, plain
    for model in (planned, plain):
        model.pool.shutdown()


def outcome(model: PackageModel, body: bytes, v2: bool) -> tuple[Any, list[float]]:
    """What is said, and the probabilities apart."""
    try:
        reply = model.reply(body, None, v2=v2)
    except InputError as error:
        return (error.problem, error.fix, error.context), []
    answer = orjson.loads(wire.dump(reply.answer))
    shares: list[float] = []
    if v2:
        for output in answer["outputs"]:
            if output["name"] == "probabilities":
                shares += output.pop("data")
    else:
        shares += np.ravel(answer.pop("probabilities", [])).tolist()
    return (answer, reply.rows, reply.outside, reply.ignored), shares


def same(models: Models, body: bytes, v2: bool) -> bool:
    """See that both say the same; whether they answered."""
    (wanted, exact), (given, found) = (outcome(model, body, v2) for model in models)
    assert given == wanted, body
    assert len(found) == len(exact)
    assert np.allclose(found, exact, rtol=0, atol=1e-12), body
    return bool(found)


def test_the_matrix(models: Models) -> None:
    plain = [(protocol, body) for _, protocol, body, headers, _, _ in MATRIX if not headers]
    answered = [
        same(models, body if isinstance(body, bytes) else json.dumps(body).encode(), protocol == "V2")
        for protocol, body in plain
    ]
    assert 0 < sum(answered) < len(answered)


def test_nearly_right_bodies(models: Models) -> None:
    answered = [same(models, body, v2) for v2, body in fuzzing.bodies(5, 300)]
    assert 5 < sum(answered) < len(answered)
