"""Render `base/` for a Site, apply it, take it away again."""

import copy
from pathlib import Path
from typing import Any

from kubeloop.cluster.api import Api, Document, Kind, Refused
from kubeloop.errors import InputError
from kubeloop.site.addresses import store_port
from kubeloop.site.load import SITE
from kubeloop.site.model import Site

_GROUPS = {
    "v1": "api/v1",
    "rbac.authorization.k8s.io/v1": "apis/rbac.authorization.k8s.io/v1",
    "networking.k8s.io/v1": "apis/networking.k8s.io/v1",
}
_PLURALS = {"NetworkPolicy": "networkpolicies"}
_BASE = Path(__file__).parent / "base"
_TEMPLATE_NAMESPACE = "kubeloop"
# Written into the ConfigMap as it is on the laptop, but for what only a laptop has.
_LAPTOPS_OWN = ("home", "inputs", "signing_key", "name")


def kind_of(document: Document) -> Kind:
    """Where objects like this one live in the API."""
    kind, version = document["kind"], document["apiVersion"]
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    return Kind(_GROUPS[version], plural, kind, namespaced=kind != "Namespace")


def render(site: Site) -> list[Document]:
    """Every object that a Site needs in its namespace, in the order in which they can be applied.

    What `kubectl kustomize deploy` gives, with the Site's namespace, and the ConfigMap with its `site.yaml`.

    Raises:
        InputError: The Site names no cluster.
    """
    import yaml

    if site.cluster is None:
        raise InputError(
            f"the Site {site.name} should name a cluster, and names none", "write `cluster:` into its site.yaml"
        )
    listed = yaml.safe_load((_BASE / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    found = [
        _reaching(_placed(document, site.namespace), store_port(site))
        for name in listed
        for document in yaml.safe_load_all((_BASE / name).read_text(encoding="utf-8"))
    ]
    return [*found, _settings(site, site.cluster.settings)]


def _placed(document: Document, namespace: str) -> Document:
    made = copy.deepcopy(document)
    if made["kind"] == "Namespace":
        made["metadata"]["name"] = namespace
        return made
    made["metadata"]["namespace"] = namespace
    for subject in made.get("subjects", []):
        if subject.get("namespace") == _TEMPLATE_NAMESPACE:
            subject["namespace"] = namespace
    return made


def _reaching(document: Document, port: int | None) -> Document:
    """Predictors whose packages are in S3 fetch them: a policy lets them reach its port."""
    if document["kind"] == "NetworkPolicy" and port is not None:
        document["spec"]["egress"].append({"ports": [{"port": port, "protocol": "TCP"}]})
    return document


def _settings(site: Site, name: str) -> Document:
    """The Site as its pods read it."""
    import yaml

    fields = site.model_dump(mode="json", exclude_defaults=True, exclude=set(_LAPTOPS_OWN))
    text = yaml.safe_dump({"name": site.name, **fields, "sql": site.sql, "tracking": site.tracking}, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": site.namespace},
        "data": {SITE: text},
    }


def install(api: Api, documents: list[Document], *, dry_run: bool = False) -> list[tuple[str, str]]:
    """Apply them in order; what is as it should be stays untouched.

    Args:
        api: As whom and where.
        documents: From `render`.
        dry_run: Ask the server what would happen, and change nothing.

    Returns:
        A pair an object: its kind and name, and `created`, `changed` or `unchanged`.

    Raises:
        PermanentError: The server refused one; those before it are applied.
    """
    done = []
    new_namespace = False
    for document in documents:
        kind, name = kind_of(document), document["metadata"]["name"]
        before = api.get(kind, name)
        if kind.kind == "Namespace":
            new_namespace = before is None
        if dry_run and new_namespace and kind.kind != "Namespace":
            done.append((f"{kind.kind} {name}", "created"))  # the server knows no object in a namespace to come
            continue
        after = _apply(api, kind, document, dry_run=dry_run)
        done.append((f"{kind.kind} {name}", _what_happened(before, after)))
    return done


def uninstall(api: Api, documents: list[Document]) -> list[tuple[str, str]]:
    """Delete what `install` applied, the last first; a namespace that was there before us, or holds models, stays.

    Returns:
        A pair an object: its kind and name, and `deleted`, `kept` or `not there`.
    """
    done = []
    for document in reversed(documents):
        kind, name = kind_of(document), document["metadata"]["name"]
        live = api.get(kind, name)
        word = "not there" if live is None else "kept" if kind.kind == "Namespace" else "deleted"
        if word == "deleted":
            api.delete(kind, name)
        done.append((f"{kind.kind} {name}", word))
    return done


def _apply(api: Api, kind: Kind, document: Document, *, dry_run: bool) -> Document:
    try:
        return api.apply(kind, document, force=True, dry_run=dry_run)
    except Refused as refused:
        raise api.explained(refused, "patch", kind) from refused


def _what_happened(before: Document | None, after: Document) -> str:
    if before is None:
        return "created"
    return "unchanged" if _without_clock(before) == _without_clock(after) else "changed"


def _without_clock(document: Document) -> dict[str, Any]:
    """An object without what a request alone changes."""
    made = copy.deepcopy(document)
    for field in ("resourceVersion", "generation", "managedFields"):
        made["metadata"].pop(field, None)
    return made
