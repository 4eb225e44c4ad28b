"""The component `write_rows`."""

from kubeloop.components.write_rows.component import write_rows

__all__ = ["write_rows"]
