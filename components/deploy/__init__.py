"""The component `deploy`."""

from kubeloop.components.deploy.component import deploy

__all__ = ["deploy"]
