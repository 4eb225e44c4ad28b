"""The scoring plan's way into a package."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from kubeloop.errors import PermanentError
from kubeloop.packaging.golden import TOLERANCE, difference
from kubeloop.packaging.manifest import Feature, Golden, PlanProof, ScoringPlan
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.plan import read_plan
from kubeloop.scoring.prepare import ARRAYS, PLAN, PROOF
from kubeloop.scoring.scorer import Scorer

_FIX = "train again; only a plan of the judged model is packaged"


def take_plan(
    model: Path, stage: Path, digest: str, golden: Golden, features: Sequence[Feature], classes: Sequence[object]
) -> ScoringPlan | None:
    """Copy a model's plan into a package, once it has answered the golden requests.

    Args:
        model: The model folder.
        stage: The package in the making.
        digest: Of the judged estimator's file.
        golden: The golden requests with the estimator's answers.
        features: The package's.
        classes: The package's; empty in regression.

    Returns:
        What the manifest says; None for a model that was trained without a word about plans.

    Raises:
        PermanentError: The plan is of another model, or answers otherwise.
        IntegrityError: It is damaged.
    """
    if not (model / PROOF).is_file():
        return None
    told = json.loads((model / PROOF).read_text(encoding="ascii"))
    if told["estimator"] != digest:
        raise PermanentError(f"a scoring plan of {digest} was expected, but it is of {told['estimator']}", _FIX)
    if told["dropped"] is not None:
        return ScoringPlan(dropped=told["dropped"])
    plan = read_plan((model / PLAN).read_bytes(), (model / ARRAYS).read_bytes())
    _hold(Scorer(plan, [feature.column() for feature in features]), golden, classes)
    for name in (PLAN, ARRAYS):
        (stage / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(model / name, stage / name)
    return ScoringPlan(files=(PLAN, ARRAYS), proof=PlanProof.model_validate(told["proof"]))


def _hold(scorer: Scorer, golden: Golden, classes: Sequence[object]) -> None:
    """Hold the plan's answers against the golden ones; a request that it leaves to scikit-learn is none of its own."""
    import numpy as np

    from kubeloop.learning.answers import Answers, class_array

    for place, request in enumerate(golden.requests):
        try:
            found = np.array(scorer.score_rows([request]))
        except Unscorable:
            continue
        one = golden.model_copy(
            update={
                name: part[place : place + 1]
                for name in ("requests", "labels", "probabilities", "values")
                if (part := getattr(golden, name)) is not None
            }
        )
        given = (
            Answers(labels=class_array(classes)[found.argmax(axis=1)], probabilities=found)
            if golden.labels is not None
            else Answers(values=found[:, 0])
        )
        if not difference(one, given) <= TOLERANCE:
            raise PermanentError(f"the scoring plan answers golden request {place + 1} otherwise than the model", _FIX)
