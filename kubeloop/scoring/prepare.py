"""Beside a trained model: its plan with the proof, or why it has none."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kubeloop.digests import canonical_json, file_digest
from kubeloop.learning.estimator_file import read_estimator
from kubeloop.learning.inputs import to_frame
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.errors import Refused
from kubeloop.scoring.plan import plan_bytes
from kubeloop.scoring.proof import Proof, prove

FOLDER = "scoring"
PLAN = f"{FOLDER}/plan.json"
ARRAYS = f"{FOLDER}/arrays.npz"
PROOF = f"{FOLDER}/proof.json"
"""Of a model folder; a package has what it says in its manifest."""


def prepare(model: Path, development: Path) -> dict[str, Any]:
    """Compile the plan of a trained model, prove it, and write it down; or write why there is none.

    Args:
        model: What `train` wrote: `estimator.skops` and `model.json`.
        development: Table folder that taught it.

    Returns:
        estimator (digest), dropped (the reason, or None), proof (see `proof.Proof`, or None).
    """
    from threadpoolctl import threadpool_limits

    from kubeloop.data.tables import read_frame

    schema = json.loads((model / "model.json").read_text(encoding="utf-8"))["schema"]
    digest = file_digest(model / "estimator.skops")
    estimator = read_estimator(model / "estimator.skops")
    (model / FOLDER).mkdir(exist_ok=True)
    proof: Proof | None = None
    dropped = None
    try:
        with threadpool_limits(limits=1):
            plan = compile_plan(estimator, schema, digest)
            proof = prove(plan, estimator, schema, to_frame(read_frame(development), schema), seed=0)
        for name, content in zip((PLAN, ARRAYS), plan_bytes(plan), strict=True):
            (model / name).write_bytes(content)
    except Refused as error:
        dropped = error.reason
    facts = {"estimator": digest, "dropped": dropped, "proof": asdict(proof) if proof else None}
    (model / PROOF).write_text(canonical_json(facts), encoding="ascii")
    return facts
