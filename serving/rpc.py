"""gRPC: kserve's server on the address that was asked for, and a short way for plain V2 requests."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent import futures
from time import perf_counter
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from grpc import StatusCode, aio, unary_unary_rpc_method_handler  # type: ignore[import-untyped]
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as rpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.scorer import Bodies
from kubeloop.serving.fast import Codec, Rows, Scorer
from kubeloop.serving.front import ID, INLINE, REQUEST_ID
from kubeloop.serving.model import PackageModel
from kubeloop.serving.request_log import RequestLog
from kubeloop.serving.tally import Tally

INLINE_ROWS = 256
"""Rows that are scored on the event loop; more would hold up the health check."""

Infer = Callable[[Any, Any], Awaitable[Any]]
"""Answers one request."""

_SERVICE = "inference.GRPCInferenceService"
_LIMITS = ("max_send_message_length", "max_receive_message_length")
_CONTENTS = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
_RAW = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}


class Grpc(GRPCServer):  # type: ignore[misc]
    """kserve's own listens on every address; it offers no other way than to write `start` again.

    Attributes:
        port: Where it listens, once it does.
    """

    def __init__(
        self,
        *arguments: Any,
        host: str,
        model: PackageModel,
        tally: Tally,
        log: RequestLog,
        around: Callable[[Infer], Infer] | None = None,
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self._around = around
        self._host = host
        self._model = model
        self._tally = tally
        self._log = log
        self.port = 0

    async def start(self, max_workers: int) -> None:
        """Serve until `stop`."""
        limits = [(f"grpc.{name}", self._kwargs[f"grpc_{name}"]) for name in _LIMITS]
        self._server = aio.server(futures.ThreadPoolExecutor(max_workers=max_workers), options=limits)
        servicer = _Servicer(self._data_plane, self._model_repository_extension, self._model, self._tally, self._log)
        if self._around is not None:
            servicer.ModelInfer = self._around(servicer.ModelInfer)  # type: ignore[method-assign, assignment]
        _guard(servicer)
        rpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        if self._around is None:
            self._server.add_registered_method_handlers(_SERVICE, {"ModelInfer": _at_once(servicer)})
        self.port = self._server.add_insecure_port(f"{self._host}:{self._port}")
        await self._server.start()
        await self._server.wait_for_termination()


class _Servicer(InferenceServicer):  # type: ignore[misc]
    """kserve's servicer with the short way in front of `ModelInfer`."""

    def __init__(self, plane: Any, extension: Any, model: PackageModel, tally: Tally, log: RequestLog) -> None:
        super().__init__(plane, extension)
        self._model = model
        self._tally = tally
        self._log = log
        self._template: Any = None
        self._bodies: Bodies | None = None

    def at_once(self, message: bytes, context: Any) -> bytes | None:
        """The answer to the plainest of messages; None for all else."""
        began = perf_counter()
        if self._bodies is None:
            if not self._model.ready or self._model.scorer is None:
                return None
            self._bodies = self._model.codec.compiled(self._model.scorer)
        made = None if self._bodies is None or len(message) > INLINE else self._bodies.message(message)
        if made is None:
            return None
        answer, rows, outside = made
        self._tally.outside(outside)
        self._count(began, context, 200, rows)
        return answer

    def _count(self, began: float, context: Any, code: int, rows: int = 0) -> None:
        """Count an answer, and give it its line, under the id that the client sent as `x-request-id`."""
        seconds = perf_counter() - began
        self._tally.count("grpc", code, seconds, rows)
        if code != 200 or self._log.answered is not None:
            sent = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "")
            known = sent.encode() if isinstance(sent, str) and ID.fullmatch(sent.encode()) else b""
            self._log.note(began, seconds, known, "grpc", code, rows)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Answer V2."""
        began = perf_counter()
        scorer = self._model.scorer
        if scorer is not None and self._model.ready and request.model_name == self._model.name:
            try:
                return self._short(request, scorer, began, context)
            except Unscorable:
                pass
        code = 500
        try:
            answer = await super().ModelInfer(request, context)
            code = 200
        except InvalidInput:
            code = 400
            raise
        except ModelNotFound:
            code = 404
            raise
        except (ModelNotReady, ServerNotReady):
            code = 503
            raise
        finally:
            self._count(began, context, code)
        return answer

    def _short(self, request: Any, scorer: Scorer, began: float, context: Any) -> Any:
        codec, answer = self._model.codec, pb.ModelInferResponse()
        rows = _rows(request, codec, self._model.version)
        if len(rows) > INLINE_ROWS:
            raise Unscorable
        scores = scorer.score_rows(rows)
        outside = codec.rules.outside(rows)
        made = codec.tensors(scores)
        answer.CopyFrom(self._template or self._made_template(made))
        if request.id:
            answer.id = request.id
        for output, (_, datatype, shape, data) in zip(answer.outputs, made, strict=True):
            output.shape.extend(shape)
            values = [text.encode() for text in data] if datatype == "BYTES" else data
            getattr(output.contents, _CONTENTS[datatype]).extend(values)
        self._tally.outside(outside)
        self._count(began, context, 200, len(rows))
        return answer

    def _made_template(self, tensors: Sequence[tuple[str, str, list[int], list[Any]]]) -> Any:
        """What is the same in every answer: copying it costs less than naming it all again."""
        self._template = pb.ModelInferResponse(model_name=self._model.name, model_version=self._model.version)
        for name, datatype, _, _ in tensors:
            self._template.outputs.add(name=name, datatype=datatype)
        return self._template


def _at_once(servicer: "_Servicer") -> Any:
    """A handler of `ModelInfer` by bytes: a message becomes objects only where it is not answered without."""

    async def infer(message: bytes, context: Any) -> bytes:
        made = servicer.at_once(message, context)
        if made is not None:
            return made
        try:
            request = pb.ModelInferRequest.FromString(message)
        except DecodeError:
            await context.abort(StatusCode.INVALID_ARGUMENT, "the message is no ModelInferRequest")
        answer = await servicer.ModelInfer(request, context)
        return bytes(answer.SerializeToString())

    return unary_unary_rpc_method_handler(infer)


def _guard(servicer: Any) -> None:
    """Answer exceptions as statuses. An interceptor of the server would cost each call a handler of its own."""
    statuses = ExceptionToStatusInterceptor()

    def guarded(method: Infer, name: str) -> Infer:
        async def answer(request: Any, context: Any) -> Any:
            return await statuses.intercept(method, request, context, name)

        return answer

    for name in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name:
        setattr(servicer, name, guarded(getattr(servicer, name), name))


def _rows(request: Any, codec: Codec, version: str) -> Rows:
    """The rows of a request.

    Raises:
        Unscorable: It is not plainly right.
    """
    inputs, raw = request.inputs, request.raw_input_contents
    asked = request.model_version
    if not inputs or request.outputs or (asked and asked != version) or (raw and len(raw) != len(inputs)):
        raise Unscorable
    shape = inputs[0].shape
    if not shape or not shape[0]:
        raise Unscorable
    if len(inputs) == 1 and len(shape) == 2:
        values = _values(inputs[0], raw[0] if raw else None)
        size, width = shape
        if width != len(codec.rules.names) or len(values) != size * width:
            raise Unscorable
        return [values[start : start + width] for start in range(0, len(values), width)]
    size = shape[0]
    columns: dict[str, list[Any]] = {}
    for place, item in enumerate(inputs):
        shape = item.shape
        values = _values(item, raw[place] if raw else None)
        if len(values) != size or shape[0] != size or (len(shape) != 1 and (len(shape) != 2 or shape[1] != 1)):
            raise Unscorable
        columns[item.name] = values
    if len(columns) != len(inputs):
        raise Unscorable
    return codec.columns(columns)


def _values(item: Any, raw: bytes | None) -> list[Any]:
    datatype = item.datatype
    if raw is not None:
        if item.HasField("contents") or datatype not in _RAW or len(raw) % np.dtype(_RAW[datatype]).itemsize:
            raise Unscorable
        values = np.frombuffer(raw, _RAW[datatype]).tolist()
    elif datatype in _CONTENTS:
        values = getattr(item.contents, _CONTENTS[datatype])[:]
    else:
        raise Unscorable
    if datatype == "BYTES":
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError:
            raise Unscorable from None
    if datatype[0] == "F":  # NaN is a missing value
        return [None if value != value else value for value in values]
    return list(values)
