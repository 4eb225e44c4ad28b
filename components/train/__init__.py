"""The component `train`."""

from kubeloop.components.train.component import train

__all__ = ["train"]
