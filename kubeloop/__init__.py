"""Kubeloop: the MLOps loop on Kubeflow, from one table and one `loop.yaml` to a served, judged model.

For notebooks: `kubeloop.run("loop.yaml")` and `kubeloop.load("heart@champion").predict(frame)`.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: inside a task or a server nobody wants the front door.
    if name in ("run", "load"):
        from kubeloop.cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'kubeloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__]
