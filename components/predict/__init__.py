"""The component `predict`."""

from kubeloop.components.predict.component import predict

__all__ = ["predict"]
