"""The component `split`."""

from kubeloop.components.split.component import split

__all__ = ["split"]
