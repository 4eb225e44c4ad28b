"""The component `labels`."""

from kubeloop.components.labels.component import labels

__all__ = ["labels"]
