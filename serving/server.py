"""kserve.ModelServer with our door in front, an address to listen on, and readiness that tells the truth."""

import asyncio
import logging
import socket
import warnings
from concurrent import futures
from functools import partial
from typing import Any

import kserve.model_server
from grpc import aio  # type: ignore[import-untyped]
from grpc_interceptor.exceptions import PermissionDenied
from kserve import ModelServer
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
from kserve.logging import configure_logging
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as rpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from kubeloop.serving.door import Door
from kubeloop.serving.model import PackageModel
from kubeloop.serving.predictor import Options

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
        kserve.model_server.GRPCServer = partial(_Grpc, host=self._chosen.host)
        super().start(models)

    async def _serve(self) -> None:
        rest = self._rest_server
        rest.config.host = self._chosen.host
        rest.config.app = Door(kserve.model_server.app, self.model)
        if self._listener is not None:
            rest._server.serve = partial(rest._server.serve, sockets=[self._listener])
        opening = asyncio.create_task(asyncio.to_thread(self.model.open))
        opening.add_done_callback(self._opened)
        await super()._serve()
        await opening

    def _opened(self, opening: "asyncio.Task[None]") -> None:
        """A package that cannot be loaded ends the process: it will never be ready."""
        if not opening.cancelled() and opening.exception() is not None:
            self._rest_server._server.should_exit = True
            if self._grpc_server is not None:
                self._ending = asyncio.create_task(self._grpc_server.stop())


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


class _Grpc(GRPCServer):  # type: ignore[misc]
    """kserve's own listens on every address; it offers no other way than to write `start` again."""

    def __init__(self, *arguments: Any, host: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._host = host

    async def start(self, max_workers: int) -> None:
        """Serve until `stop`."""
        limits = [(f"grpc.{name}", self._kwargs[f"grpc_{name}"]) for name in _LIMITS]
        self._server = aio.server(
            futures.ThreadPoolExecutor(max_workers=max_workers),
            interceptors=(ExceptionToStatusInterceptor(),),
            options=limits,
        )
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        rpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(f"{self._host}:{self._port}")
        await self._server.start()
        await self._server.wait_for_termination()


_LIMITS = ("max_send_message_length", "max_receive_message_length")


def _quiet() -> None:
    """Warnings and errors only, on stderr; no access log, no line per request, no traceback for a client's mistake."""
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # kserve's choice, said at each request
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


class _OursOnly(logging.Filter):
    """Drops the tracebacks that kserve logs for the mistakes of clients."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about us."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, _CLIENTS_MISTAKES)
