"""Have a package watched where it will serve: what the component `attach_monitor` does."""

import json
from typing import Any

from kubeloop.monitoring.log.models import model_of
from kubeloop.monitoring.reference.packaged import reference_of
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.serving.sink_intake import Service
from kubeloop.site.model import Site


def attach(site: Site, name: str, digest: str) -> dict[str, Any]:
    """See that a package can be watched, and on a cluster bring its detector service up.

    It is up before the package is deployed, and knows what serves now as well as what will: no event of either is lost.

    Args:
        site: Where it will serve.
        name: The model.
        digest: The package.

    Returns:
        Facts: name, digest, where (`cluster`, `laptop` or `nowhere`), how (for a person), versions (digests that the
        service knows, the newest last), logger (where events go; None: nowhere), ready_s.

    Raises:
        InputError: The package has no reference, or the Site cannot run a detector service.
        KubeloopError: As `kubeloop.cluster.watching.watch`.
    """
    package = read_package(fetch(site, digest), digest, site)
    reference_of(package)
    facts: dict[str, Any] = {"name": name, "digest": digest, "versions": [digest], "logger": None, "ready_s": None}
    if site.cluster is None:
        return facts | {"where": "laptop", "how": f"`kubeloop serve {name} --monitor` watches it"}
    from kubeloop.cluster.inference_service import logger_address

    facts["logger"] = logger_address(site, name)
    if site.cluster.monitor is None:
        return facts | {"where": "nowhere", "how": "not watched: cluster.monitor in site.yaml names no image"}
    return facts | {"where": "cluster"} | _on_cluster(site, name, package)


def _on_cluster(site: Site, name: str, package: Package) -> dict[str, Any]:
    from kubeloop.cluster.api import connect
    from kubeloop.cluster.monitor_service import monitor_service
    from kubeloop.cluster.watching import watch

    assert site.cluster is not None
    known = [*_serving_now(site, name, package.digest), package]
    versions = [each.digest for each in known]
    wanted = monitor_service(site, name, services_text(site, name, known), versions)
    ready = watch(connect(site), wanted, site.cluster.deadline_s)
    return {
        "how": f"{wanted.name} takes its events and judges windows of them",
        "versions": versions,
        "ready_s": ready,
    }


def _serving_now(site: Site, name: str, digest: str) -> list[Package]:
    """The champion's package, where there is one and it is another."""
    from kubeloop.registry.champions import present_champion

    row = present_champion(site, name)
    if row is None or row.digest == digest:
        return []
    return [read_package(fetch(site, row.digest), row.digest, site)]


def services_text(site: Site, name: str, packages: list[Package]) -> str:
    """The settings of a sink or a detector service that watches one model, the newest package last; canonical JSON."""
    models = tuple(model_of(each.manifest, each.digest) for each in packages)
    service = Service(namespace=site.namespace, service=name, models=models)
    return json.dumps({"services": [service.model_dump(mode="json")]}, sort_keys=True, separators=(",", ":"))
