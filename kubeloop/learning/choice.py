"""What `tune` chose, put into what `train` gets to know."""

from collections.abc import Mapping
from typing import Any

from kubeloop.contract.estimator import Estimator
from kubeloop.contract.sections import TrainSection


def chosen(section: TrainSection, choice: Mapping[str, Any]) -> tuple[TrainSection, dict[str, Any]]:
    """The section as the choice makes it, and the parameters that replace those of its estimator.

    Args:
        section: The contract's part.
        choice: `parameters`; where a search chose them, `estimator` (its kind) and `leave_out` (columns), too.
    """
    kind, left_out = choice.get("estimator"), tuple(choice.get("leave_out") or ())
    if kind is not None and kind != section.estimator.kind:
        own = section.estimator
        other = Estimator(kind=kind, class_weight=own.class_weight, calibration=own.calibration)
        section = section.model_copy(update={"estimator": other})
    if left_out:
        drop = tuple(dict.fromkeys([*section.features.drop, *left_out]))
        use = section.features.use
        kept = None if use is None else tuple(name for name in use if name not in left_out)
        features = section.features.model_copy(update={"drop": drop, "use": kept})
        section = section.model_copy(update={"features": features})
    return section, dict(choice["parameters"])
