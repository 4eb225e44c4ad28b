"""Look at a Site's cluster, and say what to mend: versions, rights, store, database, KServe, Katib, images, clock."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kubeloop.cluster.api import POD, Api, Refused, connect
from kubeloop.cluster.lint import image_findings
from kubeloop.cluster.pods import symptoms
from kubeloop.errors import KubeloopError
from kubeloop.site.addresses import filesystem, write_whole
from kubeloop.site.model import Site

PATIENCE_S = 5.0
CLOCK_S = 30.0
"""A token is refused, and a ledger's order is doubtful, where clocks are further apart."""

OLDEST = (1, 29)
"""KServe 0.20's own minimum."""

KATIB_LABEL = "katib.kubeflow.org/metrics-collector-injection"
PSEUDONYM_KEY = "pseudonym-key"
"""What makes pseudonyms out of personal values; a laptop makes its own, a cluster's is in the Secret."""

_KATIB_API = "/apis/kubeflow.org/v1beta1"
_KATIB_CONFIG = "/api/v1/namespaces/kubeflow/configmaps/katib-config"
_FEATURES = "/api/v1/namespaces/knative-serving/configmaps/config-features"
_CONFIG = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
_NEEDED = (
    *((verb, "serving.kserve.io", "inferenceservices") for verb in ("get", "create", "patch", "delete")),
    ("list", "apps", "deployments"),
    ("list", "apps", "replicasets"),
    ("list", "", "pods"),
    ("list", "", "events"),
    ("get", "", "pods/log"),
    ("create", "", "services/proxy"),
)


_ACCOUNTS = {
    "kubeloop-deploy": ("patch", "serving.kserve.io", "inferenceservices"),
    "kubeloop-monitor": ("patch", "apps", "deployments"),
    "kubeloop-tune": ("create", "kubeflow.org", "experiments"),
}
"""Under which account a pipeline's task talks to the cluster, and what it may not do without its Role."""


@dataclass(frozen=True)
class Look:
    """One thing looked at; `fix` is empty where it is well."""

    what: str
    seen: str
    fix: str = ""


def examine(site: Site) -> Iterator[Look]:
    """Everything that a run with this Site needs, one by one; what a fault hides is not looked at."""
    yield from _safely("store", lambda: _store(site))
    yield from _safely("database", lambda: _database(site))
    try:
        api = connect(site, PATIENCE_S)
        version = api.read("/version")
    except KubeloopError as error:
        yield Look("cluster", error.problem, error.fix)
        return
    except Refused as refused:
        yield Look("cluster", f"it refuses this account: {refused.message}", "log in again, or mend the kubeconfig")
        return
    yield _version(str(version["gitVersion"]))
    yield from _safely("clock", lambda: _clock(api.clock_offset_s()))
    yield from _safely("KServe", lambda: _kserve(api, site))
    missing = [f"{verb} {resource}" for verb, group, resource in _NEEDED if not api.may(verb, group, resource)]
    told = "this account has every verb of its Role" if not missing else f"this account may not: {', '.join(missing)}"
    yield Look("rights", told, _BIND if missing else "")
    yield from _safely("accounts", lambda: _accounts(api))
    yield _images(site)
    yield from _safely("namespace", lambda: _namespace(api))
    yield from _safely("secrets", lambda: _secrets(api, site))
    yield from _safely("Katib", lambda: _katib(api))
    yield from _safely("trainer", lambda: _trainer(api, site))
    yield from _safely("pods", lambda: _pods(api))


def _safely(what: str, look: Callable[[], Look]) -> Iterator[Look]:
    try:
        yield look()
    except KubeloopError as error:
        yield Look(what, error.problem, error.fix)
    except Refused as refused:
        yield Look(what, f"the cluster refuses to say: {refused.message}", "look again, or ask who runs the cluster")


def _store(site: Site) -> Look:
    files, path = filesystem(site, f"{site.store}/.doctor-{secrets.token_hex(4)}")
    try:
        write_whole(files, path, b"kubeloop")
        whole = files.cat_file(path) == b"kubeloop"
        files.rm_file(path)
    except OSError as error:
        said = error.strerror or type(error).__name__
        return Look("store", f"{site.store} cannot be written: {said}", "mount it here, or mend its credentials")
    return Look("store", f"{site.store} takes and gives bytes", "" if whole else "see that nothing else writes there")


def _database(site: Site) -> Look:
    from kubeloop.store import open_engine

    engine = open_engine(site)  # makes its tables, so it has answered
    engine.dispose()
    return Look("database", f"{engine.dialect.name} answers")


def _accounts(api: Api) -> Look:
    """Whether the tasks of a pipeline find their accounts, each with its Role."""
    wrong = []
    try:
        for name, needed in _ACCOUNTS.items():
            if not _is_there(api, f"/api/v1/namespaces/{api.namespace}/serviceaccounts/{name}"):
                wrong.append(f"{name} is not there")
            elif not api.may(*needed, account=name):
                wrong.append(f"{name} may not {needed[0]} {needed[2]}")
    except Refused as refused:
        if refused.status == 403:
            return Look("accounts", "those of a pipeline's tasks cannot be seen by this account")
        raise
    told = "; ".join(wrong) or f"{', '.join(_ACCOUNTS)}, each with its Role"
    return Look("accounts", told, _INSTALL if wrong else "")


def _is_there(api: Api, path: str) -> bool:
    try:
        api.read(path)
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True


def _images(site: Site) -> Look:
    """Whether the Site's images are named so that what was tried is what runs."""
    how = site.cluster
    assert how is not None  # `connect` refuses such a Site
    named = {"image": how.image, "trainer": how.trainer, "monitor": how.monitor}
    given = {key: image for key, image in named.items() if image is not None}
    wrong = [finding for key, image in given.items() for finding in image_findings(f"cluster.{key}", image)]
    told = "; ".join(wrong) or ", ".join(f"cluster.{key}" for key in given)
    return Look("images", told, "write it into site.yaml with a tag or a digest" if wrong else "")


def _trainer(api: Api, site: Site) -> Look:
    """Whether a search that is started outside of the cluster has what its trials need there."""
    assert site.cluster is not None
    if site.cluster.trainer is None:
        return Look("trainer", "none is named: a search that is started outside runs where it is started")
    if not _is_there(api, _KATIB_API):
        return Look("trainer", "cluster.trainer is named, and there is no Katib that could run it", _TRAINER)
    return Look("trainer", site.cluster.trainer)


def _version(version: str) -> Look:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    old = found is None or (int(found[1]), int(found[2])) < OLDEST
    wanted = ".".join(map(str, OLDEST))
    return Look("cluster", f"Kubernetes {version}", f"KServe 0.20 needs {wanted} or later: upgrade it" if old else "")


def _clock(offset_s: float) -> Look:
    apart = abs(offset_s) > CLOCK_S
    return Look("clock", f"{abs(offset_s):.0f} s from the server's", "set this machine's clock by NTP" if apart else "")


def _kserve(api: Api, site: Site) -> Look:
    try:
        served = {item["version"] for item in api.read("/apis/serving.kserve.io")["versions"]}
    except Refused:
        return Look("KServe", "its InferenceService is not known here", "install KServe 0.20 in Standard mode")
    if "v1beta1" not in served:
        return Look("KServe", f"it serves {', '.join(sorted(served))}", "upgrade it to 0.20")
    if site.cluster is not None and site.cluster.mode == "knative":
        return _knative(api, site)
    try:
        deploy = str(api.read(_CONFIG)["data"].get("deploy", ""))
    except (Refused, KeyError):
        return Look("KServe", "v1beta1; its mode cannot be seen by this account")
    found = re.search(r'"defaultDeploymentMode"\s*:\s*"(\w+)"', deploy)
    mode = found[1] if found else "not set"
    good = mode in ("Standard", "RawDeployment")
    return Look("KServe", f"v1beta1, mode {mode}", "" if good else _MODE)


def _knative(api: Api, site: Site) -> Look:
    if not _is_there(api, "/apis/serving.knative.dev/v1"):
        mend = "install Knative Serving, or write cluster.mode: standard into site.yaml"
        return Look("KServe", "v1beta1; the Site wants Knative, which is not known here", mend)
    feature = f"kubernetes.podspec-{'init-containers' if site.store.startswith('s3://') else 'persistent-volume-claim'}"
    try:
        word = api.read(_FEATURES)["data"].get(feature, "disabled")
    except (Refused, KeyError):
        return Look("KServe", f"v1beta1, on Knative; whether it allows {feature} cannot be seen by this account")
    mend = f"set {feature} to enabled in the ConfigMap knative-serving/config-features"
    return Look("KServe", f"v1beta1, on Knative, {feature} is {word}", "" if word in ("enabled", "allowed") else mend)


def _namespace(api: Api) -> Look:
    try:
        labels = api.read(f"/api/v1/namespaces/{api.namespace}")["metadata"].get("labels", {})
    except Refused as refused:
        if refused.status == 404:
            return Look("namespace", f"{api.namespace} is not there", "make it with `kubeloop install`")
        return Look("namespace", f"{api.namespace}; its labels cannot be seen by this account")
    lacking = [name for name in (KATIB_LABEL, "pod-security.kubernetes.io/enforce") if name not in labels]
    told = f"{api.namespace} lacks the label {', '.join(lacking)}" if lacking else f"{api.namespace}, with its labels"
    return Look("namespace", told, "run `kubeloop install` again: it sets them" if lacking else "")


def _secrets(api: Api, site: Site) -> Look:
    """Whether the Secret has a value for every reference of the Site; values are not looked at."""
    assert site.cluster is not None  # `connect` refuses such a Site
    name = site.cluster.settings
    wanted = set(re.findall(r"\$\{secret:([^}]+)\}", site.model_dump_json()))
    try:
        there = set(api.read(f"/api/v1/namespaces/{api.namespace}/secrets/{name}").get("data") or {})
    except Refused as refused:
        if refused.status == 403:
            return Look("secrets", f"{name}; what it holds cannot be seen by this account, and should not be")
        there = set()
    lacking = sorted(wanted - there)
    if lacking:
        files = " ".join(f"--from-file={key}" for key in sorted(wanted | there))
        make = f"kubectl -n {api.namespace} create secret generic {name} {files} --dry-run=client -o yaml"
        return Look(
            "secrets",
            f"the Secret {name} lacks {', '.join(lacking)}",
            f"write each value to a file of its name, then {make} | kubectl apply -f -",
        )
    told = f"the Secret {name} has all that the Site refers to" if wanted else "the Site refers to none"
    if PSEUDONYM_KEY not in there:
        told += f"; without {PSEUDONYM_KEY}, a contract that asks for pseudonyms is refused in pods"
    return Look("secrets", told)


def _katib(api: Api) -> Look:
    """Whether Katib's own pods may run in a namespace that holds to Pod Security `restricted`."""
    import yaml

    if not _is_there(api, _KATIB_API):
        return Look("Katib", "not here: a search runs where it is started")
    try:
        text = str(api.read(_KATIB_CONFIG)["data"]["katib-config.yaml"])
    except (Refused, KeyError):
        return Look("Katib", "v1beta1; its settings cannot be seen by this account")
    settings = yaml.safe_load(text) or {}
    bare = [
        str(item.get("algorithmName"))
        for item in settings.get("runtime", {}).get("suggestions", [])
        if not (item.get("securityContext") or {}).get("runAsNonRoot")
    ]
    injects = settings.get("init", {}).get("controller", {}).get("injectSecurityContext", False)
    if not bare and injects:
        return Look("Katib", "v1beta1; its pods keep to Pod Security restricted")
    told = f"its services for {', '.join(bare)}" if bare else "its metrics collector"
    return Look("Katib", f"{told} may not start here: Pod Security restricted", _KATIB)


def _pods(api: Api) -> Look:
    for pod in api.list(POD):
        for symptom in symptoms(pod, "", float("inf")):
            return Look("pods", f"{pod['metadata']['name']}: {symptom.what}", symptom.fix)
    return Look("pods", "none that cannot start")


_BIND = "run `kubeloop install` as an administrator, and bind its Role kubeloop-operator to this account"
_INSTALL = "run `kubeloop install` as an administrator: it makes and binds them"
_TRAINER = "install Katib 0.19, or take cluster.trainer out of site.yaml: a search then runs where it is started"
_KATIB = (
    "in the ConfigMap kubeflow/katib-config set init.controller.injectSecurityContext: true, and give each of "
    "runtime.suggestions a securityContext (runAsNonRoot, allowPrivilegeEscalation: false, capabilities drop ALL, "
    "seccompProfile RuntimeDefault); then restart katib-controller"
)
_MODE = (
    "set defaultDeploymentMode to Standard in the ConfigMap kserve/inferenceservice-config, or cluster.mode to knative "
    "in site.yaml"
)
