"""The Kubernetes API of one namespace: requests that outlive a restart of the server, errors that say what to do."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from kubeloop.errors import InputError, KubeloopError, PermanentError, TransientError
from kubeloop.site.model import Site

MANAGER = "kubeloop"
"""Our field manager: one for the tool, so that no other tool's fields are taken or lost."""

RETRY_S = 60.0
"""How long a server that does not answer is asked again."""

_PAUSE_S = 1.0
_ROLES_S = 30.0
"""How long a server that has just restarted may refuse whom it let in before: it does not know its Roles yet."""

_TIMEOUT_S = 30.0
_APPLY = "application/apply-patch+yaml"
_AGAIN = (429, 500, 502, 503, 504)

Document = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of objects.

    Attributes:
        group: API group and version as in a path, such as `apis/apps/v1`.
        plural: Its name in paths and Roles.
        kind: Its name in documents.
        namespaced: Whether its objects are in a namespace.
    """

    group: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in a document."""
        return self.group.partition("/")[2]


ISVC = Kind("apis/serving.kserve.io/v1beta1", "inferenceservices", "InferenceService")
DEPLOYMENT = Kind("apis/apps/v1", "deployments", "Deployment")
REPLICA_SET = Kind("apis/apps/v1", "replicasets", "ReplicaSet")
POD = Kind("api/v1", "pods", "Pod")
EVENT = Kind("api/v1", "events", "Event")
WORKFLOW = Kind("apis/argoproj.io/v1alpha1", "workflows", "Workflow")


class Refused(Exception):
    """The API server said no.

    Args:
        status: HTTP status.
        reason: The API's own word, such as `Conflict`.
        message: Its sentence.
        causes: Field and sentence of each cause.
    """

    def __init__(self, status: int, reason: str, message: str, causes: list[tuple[str, str]]) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes


class Api:
    """A client of one namespace.

    Args:
        client: A `kubernetes.client.ApiClient`.
        namespace: Where all is read and written.
        inside: Whether this process runs in a pod of that cluster.
        patience_s: How long a server that does not answer is asked again.
    """

    def __init__(self, client: Any, namespace: str, *, inside: bool = False, patience_s: float = RETRY_S) -> None:
        self._client = client
        self._patience_s = patience_s
        self._let_in = False
        self.namespace = namespace
        self.inside = inside

    def get(self, kind: Kind, name: str) -> Document | None:
        """An object, or None where there is none."""
        try:
            return self._json("GET", self._path(kind, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise self.explained(refused, "get", kind) from refused

    def list(self, kind: Kind, labels: str = "", fields: str = "") -> list[Document]:
        """All objects of the namespace with these labels and fields."""
        query = [("labelSelector", labels), ("fieldSelector", fields)]
        try:
            found = self._json("GET", self._path(kind), [pair for pair in query if pair[1]])
        except Refused as refused:
            raise self.explained(refused, "list", kind) from refused
        return list(found["items"])

    def watch(self, kind: Kind, name: str, version: str, timeout_s: float) -> Iterator[Document]:
        """An object as it becomes, from one of its versions on; ends with the server's patience, or its connection.

        Args:
            kind: Its kind.
            name: Its name.
            version: The `resourceVersion` after which changes are wanted.
            timeout_s: For how long the server shall tell, in seconds; at least one.

        Raises:
            Refused: The server's answer, as it came; 410: it has forgotten that version, so look anew; 404: the object
                was deleted.
        """
        from urllib3.exceptions import HTTPError

        query = [("watch", "true"), ("fieldSelector", f"metadata.name={name}"), ("resourceVersion", version)]
        query += [("allowWatchBookmarks", "true"), ("timeoutSeconds", str(max(1, round(timeout_s))))]
        try:
            answer = self._open("GET", self._path(kind), query, None, {}, timeout_s + _TIMEOUT_S)
        except ConnectionError:
            return
        try:
            for line in answer:  # urllib3 gives whole lines
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _refused(int(event["object"].get("code", 500)), json.dumps(event["object"]))
                if event["type"] == "DELETED":
                    raise Refused(404, "NotFound", f"{kind.plural} {name} was deleted", [])
                if event["type"] != "BOOKMARK":
                    yield event["object"]
        except (HTTPError, OSError, ValueError):
            return  # a connection that ended within a line
        finally:
            answer.close()

    def apply(self, kind: Kind, document: Document, *, force: bool = False, dry_run: bool = False) -> Document:
        """Server-side apply by our field manager.

        Raises:
            Refused: The server's answer, as it came.
        """
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true" if force else "false")]
        if dry_run:
            query.append(("dryRun", "All"))
        path = self._path(kind, document["metadata"]["name"])
        return self._json("PATCH", path, query, document, _APPLY)

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; one that is not there is deleted already."""
        try:
            self._json("DELETE", self._path(kind, name), [("propagationPolicy", "Background")])
        except Refused as refused:
            if refused.status != 404:
                raise self.explained(refused, "delete", kind) from refused

    def log(self, pod: str, container: str, lines: int, *, previous: bool = False) -> str:
        """The last lines that a container said; empty where it has said nothing or is not started."""
        query = [("container", container), ("tailLines", str(lines)), ("previous", "true" if previous else "false")]
        try:
            return self._text("GET", f"{self._path(POD, pod)}/log", query)
        except Refused:
            return ""

    def ask_service(self, service: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """POST JSON to a Service by the API server's proxy, for whoever is outside of the cluster.

        Args:
            service: The Service's name; it listens on port 80.
            path: Of the request.
            body: JSON.
            headers: Further ones, which the proxy passes on.

        Returns:
            HTTP status and body.
        """
        place = f"/api/v1/namespaces/{self.namespace}/services/{service}:80/proxy{path}"
        try:
            return 200, self._text("POST", place, [], json.loads(body), headers=headers).encode("utf-8")
        except Refused as refused:
            return refused.status, refused.message.encode("utf-8")

    def may(self, verb: str, group: str, resource: str, account: str | None = None) -> bool:
        """Whether an account of the namespace may do something there; None: we ourselves.

        Raises:
            Refused: We may not ask about others (SubjectAccessReview).
        """
        main, _, sub = resource.partition("/")
        asked = {"namespace": self.namespace, "verb": verb, "group": group, "resource": main, "subresource": sub}
        kind = "SelfSubjectAccessReview" if account is None else "SubjectAccessReview"
        spec: Document = {"resourceAttributes": asked}
        if account is not None:
            spec["user"] = f"system:serviceaccount:{self.namespace}:{account}"
            spec["groups"] = ["system:authenticated", "system:serviceaccounts"]
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        answer = self._json("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", [], review)
        return bool(answer["status"]["allowed"])

    def clock_offset_s(self) -> float:
        """How far the server's clock is ahead of ours, in seconds, to the second."""
        answer = self._client.call_api(
            "/version",
            "GET",
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=_TIMEOUT_S,
            _return_http_data_only=True,
        )
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()

    def read(self, path: str) -> Document:
        """Any document of the API, such as `/version`; one that our Role may not hold is refused at once.

        Raises:
            Refused: The server's answer, as it came.
        """
        found: Document = json.loads(self._text("GET", path, known=False))
        return found

    def explained(self, refused: Refused, verb: str, kind: Kind) -> KubeloopError:
        """The server's no as an error that says what to do."""
        where = {"status": refused.status, "kind": kind.kind, "namespace": self.namespace}
        if refused.status in (401, 403) and "exceeded quota" not in refused.message:
            return PermanentError(
                f"this account may not {verb} {kind.plural} in the namespace {self.namespace}: {refused.message}",
                "bind the Role of `deploy/` to it (`kubeloop install` does), or choose the right context with "
                "cluster.context in site.yaml",
                **where,
            )
        if refused.status == 404:
            return PermanentError(
                f"the cluster should know {kind.kind}s and the namespace {self.namespace}, and does not: "
                f"{refused.message}",
                "install KServe 0.20, and the namespace with `kubeloop install`",
                **where,
            )
        return PermanentError(
            f"the cluster refused the {kind.kind}: {refused.message}",
            "mend what it names in loop.yaml or site.yaml",
            **where,
        )

    def _path(self, kind: Kind, name: str = "") -> str:
        place = f"/namespaces/{quote(self.namespace)}" if kind.namespaced else ""
        return f"/{kind.group}{place}/{kind.plural}" + (f"/{quote(name)}" if name else "")

    def _json(
        self, method: str, path: str, query: Any = (), body: Document | None = None, content: str = "application/json"
    ) -> Document:
        found: Document = json.loads(self._text(method, path, query, body, content))
        return found

    def _text(
        self,
        method: str,
        path: str,
        query: Any = (),
        body: Document | None = None,
        content: str = "application/json",
        *,
        known: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """One request; a server that is away or overloaded is asked again, for all that we send can be sent twice.

        `known`: our Role holds it, so that a no after a yes is that of a server which does not know its Roles yet.
        """
        end = time.monotonic() + self._patience_s
        unsure = time.monotonic() + _ROLES_S
        while True:
            try:
                answer = self._once(method, path, query, body, {"Content-Type": content, **(headers or {})})
            except Refused as refused:
                unlearnt = known and refused.status == 403 and self._let_in
                if unlearnt and method == "GET" and time.monotonic() < unsure:
                    time.sleep(_PAUSE_S)
                    continue
                # A proxied 5xx is the Service's own answer, and a webhook's refusal may be one, too.
                if refused.status not in _AGAIN or "/proxy/" in path or time.monotonic() > end:
                    raise
            except OSError as error:
                if time.monotonic() > end:
                    raise TransientError(
                        f"the Kubernetes API was expected to answer, and did not for {self._patience_s:.0f} s: {error}",
                        "see that the cluster is up and that the kubeconfig names the right one",
                    ) from error
                unsure = time.monotonic() + _ROLES_S  # counted from when it is back
            else:
                self._let_in = True
                return answer
            time.sleep(_PAUSE_S)

    def _once(self, method: str, path: str, query: Any, body: Document | None, headers: Mapping[str, str]) -> str:
        from urllib3.exceptions import HTTPError

        answer = self._open(method, path, query, body, headers, _TIMEOUT_S)
        try:
            return bytes(answer.data).decode("utf-8", errors="replace")
        except HTTPError as error:
            raise ConnectionError(str(error)) from None

    def _open(
        self, method: str, path: str, query: Any, body: Document | None, headers: Mapping[str, str], silence_s: float
    ) -> Any:
        """The answer (`urllib3.HTTPResponse`) with its body still to be read; given up where nothing comes."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._client.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": "application/json", **headers},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=(_TIMEOUT_S, silence_s),
                _return_http_data_only=True,
            )
        except ApiException as error:
            raise _refused(error.status, error.body) from None
        except HTTPError as error:
            raise ConnectionError(str(error)) from None


def _refused(status: int, body: Any) -> Refused:
    text = body.decode("utf-8", errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        said: Mapping[str, Any] = json.loads(text)
        causes = (said.get("details") or {}).get("causes") or []
        message = str(said.get("message") or text)
    except (ValueError, AttributeError):
        return Refused(status, "", text.strip() or f"HTTP {status}", [])
    pairs = [(str(item.get("field", "")), str(item.get("message", ""))) for item in causes]
    return Refused(status, str(said.get("reason", "")), message, pairs)


def connect(site: Site, patience_s: float = RETRY_S) -> Api:
    """The API of a Site's cluster: in a pod by the pod's account, elsewhere by the kubeconfig.

    Args:
        site: Names the cluster.
        patience_s: How long a server that does not answer is asked again.

    Raises:
        InputError: The Site names no cluster, or there is no usable kubeconfig.
    """
    from kubernetes import client, config

    if site.cluster is None:
        raise InputError(
            f"the Site {site.name} should say on which cluster it serves, and says nothing",
            "write a `cluster:` with at least `image:` into its site.yaml",
        )
    made = client.Configuration()
    made.retries = False  # ours know what may be sent twice
    try:
        config.load_incluster_config(client_configuration=made)
        return Api(client.ApiClient(made), site.namespace, inside=True, patience_s=patience_s)
    except config.ConfigException:
        pass
    try:
        # Read now: the client library has looked at the environment when it was imported.
        given = os.environ.get("KUBECONFIG") or None
        config.load_kube_config(given, site.cluster.context, made, persist_config=False)
    except (config.ConfigException, OSError) as error:
        raise InputError(
            f"a kubeconfig was expected in $KUBECONFIG or ~/.kube/config: {error}",
            "get one for this cluster, and name its context with cluster.context in site.yaml",
        ) from error
    return Api(client.ApiClient(made), site.namespace, patience_s=patience_s)
