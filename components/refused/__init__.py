"""The component `refused`."""

from kubeloop.components.refused.component import refused

__all__ = ["refused"]
