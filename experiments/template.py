"""From a trial template and one assignment to a manifest, and from that to a program that this machine can run."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeloop.errors import InputError
from kubeloop.experiments.search import Assignment, Search

PLACE = re.compile(r"\$\{trialParameters\.(.+?)\}")
"""What the template has where a value goes."""

META = re.compile(r"\$\{trialSpec\.(.+?)\}")
"""A reference to the trial itself instead of to a parameter."""

INDEXED = re.compile(r"(Annotations|Labels)\[(.+)\]")
META_WORDS = ("Name", "Namespace", "Kind", "APIVersion")
_VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclass(frozen=True)
class Program:
    """What to start.

    Attributes:
        argv: Program and arguments.
        variables: Environment variables that the manifest sets.
        folder: Working directory that the manifest names, if any.
        limit_s: `activeDeadlineSeconds`, if any.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    folder: str | None
    limit_s: float | None


def render(search: Search, assignment: Assignment, trial: str) -> dict[str, Any]:
    """The manifest of one trial: every `${trialParameters.*}` filled in.

    Args:
        search: With its template.
        assignment: A value for each parameter.
        trial: The trial's name.
    """
    spec = search.template.spec
    values = {}
    for parameter in search.template.parameters:
        meta = META.fullmatch(parameter.reference)
        values[parameter.name] = _meta(meta[1], spec, search, trial) if meta else assignment[parameter.reference]
    found = _filled(spec, values)
    assert isinstance(found, dict)
    return found


def _filled(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return PLACE.sub(lambda found: values.get(found[1], found[0]), node)
    if isinstance(node, Mapping):
        return {_filled(key, values): _filled(value, values) for key, value in node.items()}
    return [_filled(each, values) for each in node] if isinstance(node, list) else node


def _meta(word: str, spec: Mapping[str, Any], search: Search, trial: str) -> str:
    indexed = INDEXED.fullmatch(word)
    if indexed:
        found = (spec.get("metadata") or {}).get(indexed[1].lower()) or {}
        return str(found.get(indexed[2], ""))
    known = {"Name": trial, "Namespace": search.namespace or "default"}
    known |= {"Kind": str(spec.get("kind")), "APIVersion": str(spec.get("apiVersion"))}
    return known[word]


def program_of(manifest: Mapping[str, Any], container: str, environ: Mapping[str, str] = os.environ) -> Program:
    """The program of a batch Job's primary container.

    Args:
        manifest: Rendered.
        container: Its name.
        environ: Gives the variables that the manifest takes from a Secret, a ConfigMap or a field.

    Raises:
        InputError: It is no batch Job, has no such container, no command, or a variable without a value here.
    """
    kind = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
    if kind != "batch/v1 Job":
        raise InputError(
            f"a trial that is a batch/v1 Job was expected, got a {kind}",
            "run it on a cluster, or write the trial as a Job for this machine",
        )
    job = manifest.get("spec") or {}
    pod = (job.get("template") or {}).get("spec") or {}
    named = {each.get("name"): each for each in pod.get("containers") or ()}
    found = named.get(container)
    if found is None:
        raise InputError(
            f"the trial has no container {container!r}; it has {', '.join(map(str, named)) or 'none'}",
            "name one of them as primaryContainerName",
        )
    if not found.get("command"):
        raise InputError(
            f"the container {container!r} has no command: its program is known to its image alone",
            "write `command`, with a program that is installed here",
        )
    variables = {str(each["name"]): _value(each, environ) for each in found.get("env") or ()}
    argv = [*found["command"], *(found.get("args") or ())]
    return Program(
        argv=tuple(_VARIABLE.sub(lambda v: variables.get(v[1], v[0]), str(word)) for word in argv),
        variables=variables,
        folder=found.get("workingDir"),
        limit_s=_seconds(job.get("activeDeadlineSeconds"), pod.get("activeDeadlineSeconds")),
    )


def _seconds(*given: Any) -> float | None:
    known = [float(each) for each in given if each is not None]
    return min(known, default=None)


def _value(variable: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    name = str(variable["name"])
    if "valueFrom" not in variable:
        return str(variable.get("value", ""))
    if name not in environ:
        raise InputError(
            f"the trial takes ${name} from the cluster, and it is not set here", f"set {name} before you run the search"
        )
    return environ[name]
