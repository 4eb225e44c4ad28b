"""The SQL store: engine, tables, migrations, locks."""

from kubeloop.store.engine import open_engine
from kubeloop.store.locks import BusyError, lock

__all__ = ["BusyError", "lock", "open_engine"]
