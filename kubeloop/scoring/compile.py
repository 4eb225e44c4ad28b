"""From a fitted pipeline to its plan."""

import warnings
from collections.abc import Sequence
from typing import Any

from kubeloop.learning.inputs import InputColumn
from kubeloop.scoring.errors import Refused
from kubeloop.scoring.learners import compile_learner
from kubeloop.scoring.plan import Plan
from kubeloop.scoring.preparation import widened
from kubeloop.scoring.program import UNKNOWN, Program


def compile_plan(estimator: Any, schema: Sequence[InputColumn], digest: str = "") -> Plan:
    """The plan that answers as a fitted pipeline does; `proof` says whether it does.

    Args:
        estimator: The fitted pipeline.
        schema: The model's inputs, as `kubeloop.learning.inputs.to_frame` wants them.
        digest: Of the estimator's file.

    Raises:
        Refused: It cannot be done; the reason is for a person.
    """
    names = [column["name"] for column in schema]
    program = Program(_wide(schema, widened(estimator, names)))
    texts = [_texts(program, slot) for slot in range(len(schema))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an encoder that is asked for its answer to an unknown text says so
            result = compile_learner(program, estimator, list(range(len(schema))))
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise Refused(f"{type(error).__name__} while it was compiled: {error}"[:300]) from error
    return Plan(
        texts=tuple(texts),
        operations=tuple(program.operations),
        result=tuple(result),
        output="probabilities" if hasattr(estimator, "classes_") else "values",
        estimator=digest,
    )


def _wide(schema: Sequence[InputColumn], more: dict[str, set[str]]) -> list[InputColumn]:
    """The schema with every text that an encoder knows; the schema's own come first."""
    made: list[InputColumn] = []
    for column in schema:
        known = list(column["categories"] or ())
        extra = sorted(more.get(column["name"], set()).difference(known)) if column["kind"] == "category" else []
        made.append({**column, "categories": known + extra} if extra else column)
    return made


def _texts(program: Program, slot: int) -> tuple[str, ...] | None:
    known = program.texts.get(slot)
    return None if known is None else tuple(text for text in known if text is not None and text is not UNKNOWN)
