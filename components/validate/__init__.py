"""The component `validate`."""

from kubeloop.components.validate.component import validate

__all__ = ["validate"]
