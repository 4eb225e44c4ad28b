"""What Katib takes and one regrets: our advice, which is never an error."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from kubeloop.experiments.lint import Document, Finding, advice
from kubeloop.experiments.lint_spec import number
from kubeloop.experiments.template import PLACE

_TRIAL = "spec.trialTemplate.trialSpec"
_SIDECAR = "sidecar.istio.io/inject"
_NATIVE = "batch/v1"


def check(document: Document) -> Iterator[Finding]:
    """Advice on budget, metrics, values and the trial's Job."""
    spec = document["spec"]
    yield from _budget(spec)
    yield from _metrics(spec.get("objective") or {})
    yield from _lists(spec)
    yield from _bounds(spec)
    template = spec.get("trialTemplate") or {}
    given = template.get("trialSpec")
    if isinstance(given, Mapping) and (given.get("apiVersion"), given.get("kind")) == (_NATIVE, "Job"):
        yield from _job(given, template.get("primaryContainerName"), spec["metricsCollectorSpec"]["collector"]["kind"])


def _budget(spec: Document) -> Iterator[Finding]:
    if spec.get("maxTrialCount") is None:
        message = "without maxTrialCount the search runs until its goal, if ever"
        yield advice("limit-trials", "spec.maxTrialCount", message, "write how many trials it is worth")
    if spec.get("maxFailedTrialCount") is None:
        message = "without maxFailedTrialCount failing trials never end the search"
        yield advice("limit-failures", "spec.maxFailedTrialCount", message, "write such as 3")


def _metrics(objective: Mapping[str, Any]) -> Iterator[Finding]:
    names = [str(objective.get("objectiveMetricName") or ""), *(objective.get("additionalMetricNames") or ())]
    for place, name in enumerate(names):
        path = (
            "spec.objective.objectiveMetricName" if not place else f"spec.objective.additionalMetricNames[{place - 1}]"
        )
        if name and not re.fullmatch(r"[\w|-]+", name, re.ASCII):
            end = re.split(r"[^\w|-]", name, flags=re.ASCII)[-1]
            message = f"the default filter reads `{name}=1` as {end!r}, so {name!r} is never found"
            yield advice("metric-name", path, message, "use letters, digits, _ and - alone, or write a filter")
            others = [other for other in names if other != name and other == end]
            if others:
                message = f"what is printed for {name!r} is taken for {others[0]!r}"
                yield advice("metric-shadow", path, message, "rename one of the two")


def _lists(spec: Document) -> Iterator[Finding]:
    for place, parameter in enumerate(spec.get("parameters") or ()):
        values = [str(value) for value in (parameter.get("feasibleSpace") or {}).get("list") or ()]
        path = f"spec.parameters[{place}].feasibleSpace.list"
        if len(set(values)) < len(values):
            yield advice("value-twice", path, "a value stands here twice, and is drawn twice as often", "keep one")
        for value in values:
            if '"' in value or "\\" in value:
                message = f"{value!r} is put into the trial's JSON as it is, and breaks it"
                yield advice("value-quote", path, message, "use values without quotes and backslashes")


def _bounds(spec: Document) -> Iterator[Finding]:
    for place, parameter in enumerate(spec.get("parameters") or ()):
        space = parameter.get("feasibleSpace") or {}
        if space.get("min") is not None and number(str(space["min"])) == number(str(space.get("max"))):
            message = f"min and max are both {space['min']}, so there is nothing to search"
            path = f"spec.parameters[{place}].feasibleSpace"
            yield advice("bounds-equal", path, message, "widen them, or write the value into the trial")


def _job(given: Mapping[str, Any], primary: Any, collector: str) -> Iterator[Finding]:
    job = given.get("spec") or {}
    template = job.get("template") or {}
    pod, metadata = template.get("spec") or {}, template.get("metadata") or {}
    here = f"{_TRIAL}.spec"
    if job.get("backoffLimit") != 0:
        message = "a failing trial is run again up to backoffLimit times (6), and its metrics mix"
        yield advice("job-retries", f"{here}.backoffLimit", message, "write backoffLimit: 0")
    if job.get("activeDeadlineSeconds") is None:
        yield advice(
            "job-deadline", f"{here}.activeDeadlineSeconds", "a trial that hangs, hangs for ever", "write a limit"
        )
    if pod.get("restartPolicy") != "Never":
        message = "a container that fails is started again in the same pod"
        yield advice("job-restart", f"{here}.template.spec.restartPolicy", message, "write restartPolicy: Never")
    inject = (metadata.get("labels") or {}).get(_SIDECAR, (metadata.get("annotations") or {}).get(_SIDECAR))
    if str(inject).lower() != "false":
        path = f"{here}.template.metadata.labels"
        yield advice("job-sidecar", path, "with Istio, a trial's sidecar never ends", f'write {_SIDECAR}: "false"')
    containers = pod.get("containers") or []
    names = [each.get("name") for each in containers]
    if primary and primary not in names:
        message = f"no container is called {primary!r}; the pods' webhook refuses each trial, which then hangs"
        path = "spec.trialTemplate.primaryContainerName"
        yield advice("container-name", path, message, f"name one of {', '.join(map(str, names)) or 'its containers'}")
    for place, container in enumerate(containers):
        if container.get("name") == primary:
            yield from _container(container, f"{here}.template.spec.containers[{place}]", collector)


def _container(container: Mapping[str, Any], path: str, collector: str) -> Iterator[Finding]:
    if not (container.get("resources") or {}).get("limits"):
        yield advice(
            "job-resources", f"{path}.resources", "a trial without limits starves its neighbours", "write limits"
        )
    if not container.get("command"):
        message = "without command Katib asks the registry for the image's own, and fails where it may not"
        yield advice("command", f"{path}.command", message, "write command")
        return
    if collector in ("StdOut", "File"):
        words = [*container["command"], *(container.get("args") or ())]
        for index, word in enumerate(words):
            bare = PLACE.sub("x", str(word))
            if shlex.quote(bare) != bare:
                message = (
                    f"Katib joins the command for `sh -c` without quoting, which {str(word)[:40]!r} does not survive"
                )
                key = "command" if index < len(container["command"]) else "args"
                place = index if key == "command" else index - len(container["command"])
                yield advice("command-shell", f"{path}.{key}[{place}]", message, "put it into a script in the image")
