"""The component `ingest`."""

from kubeloop.components.ingest.component import ingest

__all__ = ["ingest"]
