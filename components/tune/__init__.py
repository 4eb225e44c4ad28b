"""The component `tune`."""

from kubeloop.components.tune.component import tune

__all__ = ["tune"]
