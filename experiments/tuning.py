"""Choosing hyperparameters."""

from typing import Any

from kubeloop.contract.sections import TuneSection


def choose(section: TuneSection) -> dict[str, Any]:
    """The parameters to train with.

    Args:
        section: The estimator with the contract's own parameters.

    Returns:
        Facts: `parameters`, and `source`, which says where they came from.
    """
    return {"parameters": dict(section.estimator.parameters), "source": "contract"}
