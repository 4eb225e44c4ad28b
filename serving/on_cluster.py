"""An endpoint on a Kubernetes: what the rollout's steps call in the place of a boot on this machine."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.contract.serving import Serving
from kubeloop.errors import PermanentError
from kubeloop.packaging.manifest import Manifest
from kubeloop.packaging.read import read_package
from kubeloop.serving.trial import GOLDEN_HEADERS, PROTOCOLS, Ask, post_to, replay_over, trial
from kubeloop.site.model import Site

if TYPE_CHECKING:
    from kubeloop.cluster.api import Api

SETTLE_S = 30.0
"""A Service's proxies learn of a pod a moment after the Deployment knows it, and of its end likewise."""

_PAUSE_S = 1.0


def endpoint_of(site: Site, name: str, answers: str) -> Callable[[Path], dict[str, Any]]:
    """`apply` of a Site: on its cluster where it has one, else a trial boot on this machine.

    Args:
        site: Where.
        name: The model.
        answers: As in the contract; `endpoint` reads it from the package.
    """
    return endpoint(site, name) if site.cluster else partial(trial, name=name, answers=answers)


def endpoint(site: Site, name: str, *, force: bool = False) -> Callable[[Path], dict[str, Any]]:
    """`apply` for a Site with a cluster: serves the package there, and asks the golden requests through the Service.

    Args:
        site: Its cluster.
        name: The model, and the InferenceService.
        force: Take back what others have changed by hand; it is reported in any case.

    Returns:
        From a package folder to facts: `golden`, `max_difference`, `protocols`, `url`, `ready_s`, `changed`, `replaced`
        (the package served before) and `drift`. Raises as `kubeloop.cluster.serving.serve` and `replay_over` do.
    """
    from kubeloop.cluster.api import connect
    from kubeloop.cluster.inference_service import inference_service
    from kubeloop.cluster.serving import serve

    def apply(folder: Path) -> dict[str, Any]:
        package = read_package(folder, site=site)
        words = Serving.model_validate(package.manifest.contract.get("serving") or {})
        service = inference_service(site, name, package.digest, words)
        assert site.cluster is not None  # `inference_service` refuses such a Site
        api = connect(site)
        served = serve(api, service, site.cluster.deadline_s, force=force)
        difference = settled(partial(ask, api, name), name, package.manifest)
        return {
            "golden": len(package.golden.requests),
            "max_difference": difference,
            "protocols": list(PROTOCOLS),
            "url": served.url,
            "ready_s": served.seconds,
            "changed": served.changed,
            "replaced": served.previous,
            "drift": list(served.drift),
        }

    return apply


def settled(post: Ask, name: str, manifest: Manifest, patience_s: float = SETTLE_S) -> float:
    """Ask the golden requests until the answers are this package's: the old pod may have some of them, or nobody.

    Args:
        post: Asks through the Service.
        name: The model.
        manifest: Of the package that a rollout has just brought up.
        patience_s: How long proxies may take to learn whom to ask, in seconds.

    Returns:
        The largest difference of a number.

    Raises:
        PermanentError: As `replay_over`, after that time.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            return replay_over(post, name, manifest)
        except PermanentError:
            if time.monotonic() > end:
                raise
        time.sleep(_PAUSE_S)


def ask(api: "Api", name: str, path: str, body: bytes) -> tuple[int, bytes]:
    """POST to the Service of a model: from a pod by its name, from elsewhere by the API server's proxy.

    Raises:
        OSError: There is no answer.
    """
    from kubeloop.cluster.serving import proxied_service

    if api.inside:
        return post_to(f"{name}-predictor.{api.namespace}", 80, path, body)
    return api.ask_service(proxied_service(api, name), path, body, GOLDEN_HEADERS)
