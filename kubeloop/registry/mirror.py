"""MLflow's copy of the registry. Ours is the truth: a mirror that fails is told, and stops nothing."""

from collections.abc import Callable

from kubeloop.errors import KubeloopError
from kubeloop.site.model import Site

DONE = "done"


def mirror_version(site: Site, name: str, version: int, address: str, digest: str, run_id: str = "") -> str:
    """Tell MLflow of a version; gives `done` or why it could not be told."""

    def tell() -> None:
        from kubeloop.tracking import mlflow_store

        # A server refuses paths of a machine that it is not: there the digest stands for the place.
        foreign = address.startswith("file://") and site.tracking.startswith("http")
        source = f"kubeloop://packages/{digest}" if foreign else address
        mlflow_store.register_version(site, name, version, source, digest, run_id)

    return _told(tell)


def mirror_alias(site: Site, name: str, alias: str, version: int) -> str:
    """Move an alias in MLflow; gives `done` or why it could not be moved."""

    def tell() -> None:
        from kubeloop.tracking import mlflow_store

        mlflow_store.set_alias(site, name, alias, version)

    return _told(tell)


def _told(tell: Callable[[], None]) -> str:
    try:
        tell()
    except KubeloopError as error:
        return f"failed: {error.problem}"
    except ImportError as error:
        return f"failed: MLflow is not installed here ({error.name})"
    return DONE
