"""The component `read_rows`."""

from kubeloop.components.read_rows.component import read_rows

__all__ = ["read_rows"]
