"""The building blocks of what we send to Kubernetes, typed: a field that it does not know is found here."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

VERSION = "model-version"
"""Annotation of the pods by which events say who answered, for no header names the pod: again the package. No slash:
the logger's agent gets it as a flag."""

PORT = 8080
_SLEEP_S = 8
"""How long a pod that is told to end still answers, while every proxy learns that it goes (measured: no error)."""


class Strict(BaseModel):
    """camelCase on the wire; an unknown field is our mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class HttpGet(Strict):
    """Where a probe asks."""

    path: str
    port: int


class Probe(Strict):
    """How the kubelet sees that a container is well; by HTTP, for KServe's agent cannot be given another kind."""

    http_get: HttpGet
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int = 2


class Capabilities(Strict):
    """Linux capabilities."""

    drop: tuple[str, ...] = ("ALL",)


class Seccomp(Strict):
    """Seccomp."""

    type: Literal["RuntimeDefault"] = "RuntimeDefault"


class SecurityContext(Strict):
    """What Pod Security `restricted` asks of a container; KServe copies it to the agent that it injects."""

    allow_privilege_escalation: bool = False
    run_as_non_root: bool = True
    run_as_user: int = 1000
    read_only_root_filesystem: bool = True
    capabilities: Capabilities = Capabilities()
    seccomp_profile: Seccomp = Seccomp()


class Port(Strict):
    """A port of a container."""

    container_port: int
    protocol: Literal["TCP"] = "TCP"
    name: str | None = None


class Mount(Strict):
    """A volume inside of a container."""

    name: str
    mount_path: str
    read_only: bool | None = None


class SecretKey(Strict):
    """A key of a Secret."""

    name: str
    key: str


class ValueFrom(Strict):
    """A variable's source."""

    secret_key_ref: SecretKey


class Variable(Strict):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: ValueFrom | None = None


class Resources(Strict):
    """Kubernetes quantities by name."""

    requests: dict[str, str]
    limits: dict[str, str]


class Sleep(Strict):
    """A pause."""

    seconds: int


class Handler(Strict):
    """What happens before the end."""

    sleep: Sleep


class Lifecycle(Strict):
    """Hooks of a container."""

    pre_stop: Handler = Handler(sleep=Sleep(seconds=_SLEEP_S))


class Container(Strict):
    """The predictor."""

    name: Literal["kserve-container"] = "kserve-container"
    image: str
    image_pull_policy: Literal["IfNotPresent"] = "IfNotPresent"
    args: tuple[str, ...]
    ports: tuple[Port, ...] = (Port(container_port=PORT),)
    env: tuple[Variable, ...] | None = None
    resources: Resources
    security_context: SecurityContext = SecurityContext()
    startup_probe: Probe
    readiness_probe: Probe
    liveness_probe: Probe
    lifecycle: Lifecycle | None = Lifecycle()
    termination_message_policy: Literal["FallbackToLogsOnError"] = "FallbackToLogsOnError"
    volume_mounts: tuple[Mount, ...]


class InitContainer(Strict):
    """What runs before the predictor, to its end."""

    name: Literal["package"] = "package"
    image: str
    image_pull_policy: Literal["IfNotPresent"] = "IfNotPresent"
    command: tuple[str, ...]
    env: tuple[Variable, ...]
    resources: Resources
    security_context: SecurityContext = SecurityContext()
    termination_message_policy: Literal["FallbackToLogsOnError"] = "FallbackToLogsOnError"
    volume_mounts: tuple[Mount, ...]


class ConfigMap(Strict):
    """A ConfigMap as a volume."""

    name: str


class Claim(Strict):
    """A claim as a volume."""

    claim_name: str
    read_only: bool = True


class EmptyDir(Strict):
    """Scratch space."""

    size_limit: str


class Volume(Strict):
    """A volume of the pod."""

    name: str
    config_map: ConfigMap | None = None
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None


class Logger(Strict):
    """KServe's request logger; without `mode` it is refused, whatever its documentation says."""

    mode: Literal["all", "request", "response"] = "all"
    url: str
    metadata_headers: tuple[str, ...] = ("X-Request-Id",)
    metadata_annotations: tuple[str, ...] = (VERSION,)


class PullSecret(Strict):
    """A registry's credential by name."""

    name: str
