"""The component `register`."""

from kubeloop.components.register.component import register

__all__ = ["register"]
