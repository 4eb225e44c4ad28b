"""The Site: what differs between a laptop and a cluster, and nothing else."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kubeloop.errors import InputError
from kubeloop.site.urls import REFERENCE, refuse_password

KEYS = "keys"
"""The folder of a laptop's trusted public keys, below its home."""

SIGNING_KEY = "signing-key"
"""The name of a laptop's private key among its secrets."""


class ObjectStore(BaseModel):
    """How an object store is reached, where it is not by the surroundings (a cloud's own identity of this machine).

    Attributes:
        endpoint: URL of an S3 that is not Amazon's, such as MinIO.
        region: S3 region.
        key: `${secret:name}` of the access key's id.
        secret: `${secret:name}` of the secret key.
        mount: Where the claim of a store of `pvc://<claim>/...` is mounted in our own processes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str | None = None
    region: str | None = None
    key: str | None = None
    secret: str | None = None
    mount: Path | None = None

    @field_validator("endpoint")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None:
            refuse_password("objects.endpoint", value)
        return value

    @field_validator("key", "secret")
    @classmethod
    def _by_reference(cls, value: str | None, info: object) -> str | None:
        if value is not None and not REFERENCE.fullmatch(value):
            field = f"objects.{getattr(info, 'field_name', 'key')}"
            raise InputError(
                f"{field} should be a reference such as ${{secret:s3-key}}, and is something else",
                "put the value into a Secret and write its reference; then change that credential",
                field=field,
            )
        return value


class Cluster(BaseModel):
    """The Kubernetes on which a Site serves; its namespace is the Site's.

    Attributes:
        image: The predictor's image, by tag and digest where there is a registry.
        trainer: The pipeline's image, for the trials of a search that is started outside of the cluster; trials of a
            task in a pod run in that task's own image. None: such a search runs where it is started.
        context: Which context of the kubeconfig; None: the current one, or in a pod the pod's own account.
        settings: Name of the ConfigMap with `site.yaml`, and of the Secret, in the namespace.
        logger: Where KServe's logger sends requests and answers; it is there from the first deploy, for one that is
            attached later drops requests. None: to the model's detector service where there is a `monitor`, else there
            is no inference log.
        monitor: The image of the detector service that each model gets beside its endpoint; None: nobody watches.
        mode: How KServe runs endpoints: `standard` as Deployments, `knative` as Knative Services, which scale by
            requests, and down to 0. An endpoint that is there cannot change it.
        pull_secrets: Secrets for the registry.
        deadline_s: How long a rollout may take before it is given up, in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    image: str
    trainer: str | None = None
    context: str | None = None
    settings: str = "kubeloop"
    logger: str | None = None
    monitor: str | None = None
    mode: Literal["standard", "knative"] = "standard"
    pull_secrets: tuple[str, ...] = ()
    deadline_s: float = Field(600.0, gt=0)


class Site(BaseModel):
    """Where the loop runs. Holds no credential: they are `${secret:name}`, resolved where they are used.

    Attributes:
        name: What people call this place.
        home: State root on a local disk, absolute; None where there is none (a pod without a volume).
        store: fsspec URL of the store root, without a trailing slash and without credentials.
        sql: SQLAlchemy URL, without a password in clear.
        tracking: MLflow tracking URI: `sqlite:///...` or `https://...`.
        namespace: Registry names, ledger chains and logs are keyed by it.
        inputs: Folder of loop.yaml: the base of relative source paths; None: the working directory.
        allow_unsigned: Whether a package without a signature may be loaded; it is said loudly each time.
        trusted_keys: Public keys in PEM; a package must be signed by one of them.
        signing_key: `${secret:name}` of the private key; only where `register` runs.
        objects: How the object store is reached.
        cluster: Where models are served; None: on this machine.
    """

    # Inputs stay out of pydantic's messages: a mistyped field may hold a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = "laptop"
    home: Path | None = None
    store: str
    sql: str
    tracking: str
    namespace: str = Field("default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    inputs: str | None = None
    allow_unsigned: bool = False
    trusted_keys: tuple[str, ...] = ()
    signing_key: str | None = None
    objects: ObjectStore = ObjectStore()
    cluster: Cluster | None = None

    @field_validator("store", "sql", "tracking")
    @classmethod
    def _no_password(cls, value: str, info: object) -> str:
        field = str(getattr(info, "field_name", "a URL"))
        refuse_password(field, value)
        return value.rstrip("/") if field == "store" else value

    @field_validator("signing_key")
    @classmethod
    def _by_reference(cls, value: str | None) -> str | None:
        if value is not None and not REFERENCE.fullmatch(value):
            raise InputError(
                "signing_key should be a reference such as ${secret:signing-key}, and is something else",
                "put the private key into a Secret, and write its reference; then make a new pair",
                field="signing_key",
            )
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise InputError(
                f"home must be an absolute path, got {value}", "write the whole path, from / on", field="home"
            )
        return value


def laptop(home: Path, inputs: Path | None = None) -> Site:
    """The Site of one machine: all state below `home`; nothing is created yet.

    Once `kubeloop keys make` has been here, packages are signed by its key, and must be signed by one in `keys/`.

    Args:
        home: State root; made absolute here.
        inputs: Folder of loop.yaml.

    Raises:
        InputError: The path holds characters that a URL cannot carry.
    """
    root = home.expanduser().resolve()
    if bad := sorted(set(str(root)) & set("?#*[%")) + ["::"] * ("::" in str(root)):
        raise InputError(
            f"the state folder {root} has {' '.join(bad)} in its path, which its URLs cannot carry",
            "set KUBELOOP_HOME to a folder without these characters",
            path=str(root),
        )
    keys = sorted((root / KEYS).glob("*.pub"))
    return Site(
        home=root,
        store=f"file://{root}/store",
        sql=f"sqlite:///{root}/kubeloop.db",
        tracking=f"sqlite:///{root}/mlflow.db",
        inputs=None if inputs is None else str(inputs.expanduser().resolve()),
        allow_unsigned=not keys,
        trusted_keys=tuple(key.read_text(encoding="ascii") for key in keys),
        signing_key="${secret:" + SIGNING_KEY + "}" if (root / "secrets" / SIGNING_KEY).is_file() else None,
    )
