"""The component `evaluate`."""

from kubeloop.components.evaluate.component import evaluate

__all__ = ["evaluate"]
