"""The pages of the detector service; the windows themselves are judged by `kubeloop.serving.monitor_process`.

| request | answer |
| --- | --- |
| `GET /` | the last windows of all services |
| `GET /windows/ID` | the page of a window: what was told, and how it moved |
| `GET /windows/ID.json` | the same as JSON |
| `GET /windows.json` | the last window of each stream, and what cannot be watched |
| `GET /metrics` | Prometheus |
| `GET /health/live`, `GET /health/ready` | 200; live is 503 once nobody looks, ready until a look has ended well |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from kubeloop.errors import KubeloopError
from kubeloop.monitoring.watching.results import last_windows, totals, window
from kubeloop.reports.window_page import window_page, windows_page
from kubeloop.serving.monitor_metrics import exposition

if TYPE_CHECKING:
    import sqlalchemy as sa

LISTED = 40
"""Windows of each stream that the first page lists."""


@dataclass
class Watch:
    """What the service knows beside the store; written by the thread that looks.

    Attributes:
        alive: Whether there is a thread that looks.
        ready: Whether the last look ended well.
        trouble: Why it did not.
        unwatched: By service, component and version: why its windows are not judged.
        open_rows: By service, component, version and stream: rows of the window that is not full yet.
        full_rows: By the same: rows of a full one.
        plain: Further gauges: help and value by name.
    """

    alive: bool
    ready: bool
    trouble: str
    unwatched: dict[tuple[str, str, str], str]
    open_rows: dict[tuple[str, str, str, str], int]
    full_rows: dict[tuple[str, str, str, str], int]
    plain: dict[str, tuple[str, float]]


def application(store: "sa.Engine", namespace: str, watch: Watch) -> Starlette:
    """The ASGI application.

    Args:
        store: Where windows lie.
        namespace: Whose.
        watch: How the looks are going.
    """

    def index(_: Request) -> Response:
        found = last_windows(store, namespace, LISTED)
        return HTMLResponse(windows_page(found, _named(watch.unwatched), _waiting(watch)))

    def one(request: Request) -> Response:
        ident = request.path_params["ident"]
        as_json = ident.endswith(".json")
        found = window(store, namespace, ident.removesuffix(".json"))
        if found is None:
            return PlainTextResponse("there is no such window\n", 404)
        return JSONResponse(found) if as_json else HTMLResponse(window_page(found))

    def listed(_: Request) -> Response:
        return JSONResponse({"windows": last_windows(store, namespace), "unwatched": _named(watch.unwatched)})

    def metrics(_: Request) -> Response:
        text = exposition(
            last_windows(store, namespace), totals(store, namespace), watch.open_rows, watch.plain, namespace
        )
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def live(_: Request) -> Response:
        if not watch.alive:
            return PlainTextResponse("the thread that looks has died\n", 503)
        return PlainTextResponse("kubeloop detectors\n")

    def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n") if watch.ready else PlainTextResponse(f"{watch.trouble}\n", 503)

    pages: dict[str, Callable[[Request], Response]] = {
        "/": index,
        "/windows.json": listed,
        "/windows/{ident}": one,
        "/metrics": metrics,
        "/health/live": live,
        "/health/ready": ready,
    }
    # Plain functions: Starlette calls them in threads, so that a slow database holds up no health check.
    return Starlette(
        routes=[Route(path, page) for path, page in pages.items()], exception_handlers={KubeloopError: _failed}
    )


def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, KubeloopError)
    return PlainTextResponse(f"{error.problem}\n", 503)


def _named(unwatched: dict[tuple[str, str, str], str]) -> list[dict[str, Any]]:
    return [
        {"service": service, "component": component, "version": version, "reason": reason}
        for (service, component, version), reason in sorted(unwatched.items())
    ]


def _waiting(watch: Watch) -> list[dict[str, Any]]:
    return [
        {"service": key[0], "version": key[2], "stream": key[3], "rows": rows, "full": watch.full_rows.get(key)}
        for key, rows in sorted(watch.open_rows.items())
        if rows
    ]
