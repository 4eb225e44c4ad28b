"""The component `fit_monitor`."""

from kubeloop.components.fit_monitor.component import fit_monitor

__all__ = ["fit_monitor"]
