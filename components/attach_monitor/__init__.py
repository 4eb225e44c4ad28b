"""The component `attach_monitor`."""

from kubeloop.components.attach_monitor.component import attach_monitor

__all__ = ["attach_monitor"]
