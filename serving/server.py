"""kserve.ModelServer with our door in front, an address to listen on, and readiness that tells the truth."""

import asyncio
import gc
import logging
import socket
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import kserve.model_server
from grpc_interceptor.exceptions import PermissionDenied
from kserve import ModelServer
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
from kserve.logging import configure_logging
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from prometheus_client import REGISTRY

from kubeloop.serving.batching import Batcher
from kubeloop.serving.door import Door
from kubeloop.serving.front import Finish, Front, request_ids
from kubeloop.serving.gate import Gate
from kubeloop.serving.logbook import Logbook, open_logbook
from kubeloop.serving.model import PackageModel
from kubeloop.serving.predictor import Options
from kubeloop.serving.protocol import FastProtocol
from kubeloop.serving.recorder import RecordedApp, Recorder, recorded_infer
from kubeloop.serving.request_log import RequestLog
from kubeloop.serving.rpc import Grpc
from kubeloop.serving.tally import Tally

GRACE_S = 30
_CLIENTS_MISTAKES = (InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady, NotImplementedError, PermissionDenied)


class Server(ModelServer):  # type: ignore[misc]
    """The server of one package. It listens at once and answers 503 until the package is loaded.

    Args:
        chosen: The command line.
        listener: A listening socket to serve HTTP on; None: bind `host` and `http_port`.
    """

    def __init__(self, chosen: Options, listener: socket.socket | None) -> None:
        _quiet()
        self._chosen = chosen
        self._listener = listener
        self.model = PackageModel(chosen.name, chosen.package, chosen.mode)
        self._front: Front | Recorder | None = None
        self._book: Logbook | None = None
        self.tally = Tally(chosen.name, *(chosen.tally or ()))
        self.requests = RequestLog(chosen.name, chosen.request_log or "errors")
        REGISTRY.register(self.tally)
        repository = ModelRepository()
        repository.update(self.model)
        super().__init__(
            http_port=chosen.http_port,
            grpc_port=chosen.grpc_port or 0,
            workers=1,
            registered_models=repository,
            enable_grpc=chosen.grpc_port is not None,
            enable_latency_logging=False,
            grace_period=GRACE_S,
        )
        self.dataplane = _Truthful(repository, self.model)
        self.model_repository_extension = _Closed(repository)

    def start(self, models: list[Any]) -> None:
        """Serve until a signal; `models` is kserve's, and empty: ours is registered already, though not ready."""
        around = None if self._chosen.log is None else recorded_infer(lambda: self._book)
        kserve.model_server.GRPCServer = partial(
            Grpc, host=self._chosen.host, model=self.model, tally=self.tally, log=self.requests, around=around
        )
        super().start(models)

    def setup_event_loop(self) -> None:
        """Nothing: kserve would set up a loop that `asyncio.run` then does not use."""

    async def _serve(self) -> None:
        rest = self._rest_server
        rest.config.host = self._chosen.host
        door = Door(kserve.model_server.app, self.model, self.tally, self.requests, request_ids())
        rest.config.app = door if self._chosen.log is None else RecordedApp(door, lambda: self._book)
        rest.config.http = partial(FastProtocol, front=lambda: self._front)
        if self._listener is not None:
            rest._server.serve = partial(rest._server.serve, sockets=[self._listener])
        opening = asyncio.create_task(self._open())
        opening.add_done_callback(self._opened)
        try:
            await super()._serve()
            await opening
        finally:
            if self._book is not None:
                await asyncio.to_thread(self._book.close)
            await asyncio.to_thread(self.requests.close)

    async def _open(self) -> None:
        await asyncio.to_thread(self.model.open)
        loop = asyncio.get_running_loop()
        self.requests.set(self._chosen.request_log or self.model.request_log, self.model.version)
        front = front_of(self.model, self.tally, self.requests, loop)
        self.tally.version = self.model.version
        self.tally.columns = self.model.codec.rules.names
        if self._chosen.log is not None:
            words = (self.model.package, self.model.name, self._chosen.namespace, self._chosen.log, self.tally)
            self._book = await asyncio.to_thread(open_logbook, *words)
        self._front = front if self._book is None else Recorder(front, self._book, loop)
        # What is loaded stays. To look it all through for garbage takes 150 ms, in which nobody is answered.
        gc.collect()
        gc.freeze()
        self.model.ready = True

    def _opened(self, opening: "asyncio.Task[None]") -> None:
        """A package that cannot be loaded ends the process: it will never be ready."""
        if not opening.cancelled() and opening.exception() is not None:
            self._rest_server._server.should_exit = True
            if self._grpc_server is not None:
                self._ending = asyncio.create_task(self._grpc_server.stop())


def front_of(model: PackageModel, tally: Tally, log: RequestLog, loop: asyncio.AbstractEventLoop) -> Front:
    """The fast path of a loaded model; call it on the event loop."""
    gate = Gate(loop, model.promise_s)
    batcher = Batcher(model.predict_rows, model.pool, loop, gate.budget_s)

    def submit(work: Callable[[], bytes | None], finish: Finish) -> None:
        model.begin(work).add_done_callback(lambda made: finish(None if made.cancelled() else made.result()))

    return Front(model.name, model.codec, model.scorer, batcher, gate, tally, log, submit)


class _Truthful(DataPlane):  # type: ignore[misc]
    """kserve's own says that it is ready, always."""

    def __init__(self, repository: ModelRepository, model: PackageModel) -> None:
        super().__init__(model_registry=repository)
        self._model = model

    async def ready(self) -> bool:
        """Whether requests would be answered."""
        return bool(self._model.ready)


class _Closed(ModelRepositoryExtension):  # type: ignore[misc]
    """Whoever can reach the port could unload the model for good; nobody may."""

    async def load(self, model_name: str) -> None:
        """Refused."""
        raise PermissionDenied("models are loaded by whoever runs this server")

    async def unload(self, model_name: str) -> None:
        """Refused."""
        raise PermissionDenied("models are unloaded by whoever runs this server")


def _quiet() -> None:
    """Warnings and errors only, on stderr; no access log, no line per request, no traceback for a client's mistake."""
    hush()
    configure_logging(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
            "filters": {"ours": {"()": _OursOnly}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["ours"]},
                "none": {"class": "logging.NullHandler"},
            },
            "loggers": {
                "kserve": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
                "kserve.trace": {"handlers": ["none"], "level": "CRITICAL", "propagate": False},
                "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
                "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
            },
        }
    )


def hush() -> None:
    """Keep out of the log what only libraries could mend; call it before there is a second thread.

    While fastapi makes its routes it ignores a warning of pydantic's, and scikit-learn ignores others while a package
    is proved; both by `warnings.catch_warnings`, which is one for all threads: who leaves first lets the other's out.
    """
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # kserve's choice, said at each request
    warnings.filterwarnings(
        "ignore", message=r"The '\w+' attribute with value .* was provided to the `Field\(\)` function"
    )


class _OursOnly(logging.Filter):
    """Drops the tracebacks that kserve logs for the mistakes of clients."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about us."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, _CLIENTS_MISTAKES)
