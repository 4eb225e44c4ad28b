"""Windows as CloudEvents, posted until somebody has taken them; a window's id is the event's, so that twice is once."""

import datetime as dt
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kubeloop.errors import InputError
from kubeloop.monitoring.watching.results import sent, unsent

if TYPE_CHECKING:
    import sqlalchemy as sa

TIMEOUT_S = 10.0
"""Seconds that a receiver may take."""

_AT_ONCE = 50
_TYPE = "io.kubeloop.watch.window"


def cloud_event(window: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a window, in structured mode (CloudEvents 1.0); what pages draw is left out.

    `type` is `io.kubeloop.watch.window.alarm` where something is told, else `.calm`.
    """
    who = "/".join(quote(str(window[name]), safe="") for name in ("namespace", "service", "component"))
    return {
        "specversion": "1.0",
        "id": window["id"],
        "source": f"/kubeloop/{who}",
        "type": f"{_TYPE}.{'alarm' if window['alarm'] else 'calm'}",
        "subject": f"{window['version']}/{window['stream']}/{window['number']}",
        "time": window["judged_at"],
        "datacontenttype": "application/json",
        "data": {name: value for name, value in window.items() if name != "shapes"},
    }


def checked_url(url: str) -> str:
    """A URL that can be posted to.

    Raises:
        InputError: It is none of http or https.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"a URL of http or https was expected to tell windows to, got {url!r}", "write https://...")
    return url


class Outbox:
    """Tells windows to a URL, each until it answers 2xx.

    Args:
        store: Where windows lie.
        namespace: Whose.
        url: Where to post; checked.

    Attributes:
        told: Windows that were taken.
        failures: Posts that were not.
    """

    def __init__(self, store: "sa.Engine", namespace: str, url: str) -> None:
        self._store = store
        self._namespace = namespace
        self._url = url
        self.told = 0
        self.failures = 0

    def post(self, now: dt.datetime) -> str:
        """Post what nobody was told of, the oldest first, until one is not taken; why it was not, or empty."""
        for window in unsent(self._store, self._namespace, _AT_ONCE):
            trouble = self._post(window)
            if trouble:
                self.failures += 1
                return trouble
            sent(self._store, window["id"], now)
            self.told += 1
        return ""

    def _post(self, window: Mapping[str, Any]) -> str:
        body = json.dumps(cloud_event(window)).encode("ascii")
        headers = {"Content-Type": "application/cloudevents+json"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked
                return "" if 200 <= answer.status < 300 else f"{self._url} answered {answer.status}"
        except urllib.error.HTTPError as error:
            return f"{self._url} answered {error.code}"
        except (OSError, http.client.HTTPException) as error:
            return f"{self._url} does not answer: {type(error).__name__}"
