"""The package as a kserve.Model."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ServerNotReady
from kserve.metrics import PREDICT_HIST_TIME, get_labels

from kubeloop.errors import InputError
from kubeloop.learning.answers import Answers
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.serving import tensors, wire
from kubeloop.serving.predictor import mode_of
from kubeloop.serving.trial import hold


class Loading(ServerNotReady):  # type: ignore[misc]
    """The model is not loaded yet; kserve's gRPC side reads `reason`, which its own class lacks."""

    reason = "the model is loading"


class PackageModel(Model):  # type: ignore[misc]
    """One package, not ready until it has answered its own golden requests.

    Args:
        name: The model's name on the endpoint's path.
        folder: The package folder.
        mode: Which answers a classifier gives; None: as the package's contract says.
    """

    def __init__(self, name: str, folder: Path, mode: wire.Mode | None) -> None:
        super().__init__(name)
        self.enable_latency_logging = False
        self._folder = folder
        self._asked = mode
        self._package: Package | None = None
        self._mode: wire.Mode = "both"
        # One thread: more would only share the interpreter's lock and make answers wait for each other.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="score")

    @property
    def package(self) -> Package:
        """The package.

        Raises:
            Loading: It is not loaded yet.
        """
        if self._package is None:
            raise Loading
        return self._package

    @property
    def version(self) -> str:
        """The package's digest."""
        return self.package.digest

    def open(self) -> None:
        """Verify and load the package, and hold its answers against the golden ones; takes seconds.

        Raises:
            IntegrityError: The package is not what its digest says.
            PermanentError: It answers otherwise than when judged.
        """
        package = read_package(self._folder)
        hold(package.golden, package.predict(list(package.golden.requests)))
        serving = package.manifest.contract.get("serving") or {}
        self._mode = self._asked or mode_of(serving.get("answers"))
        self._package = package
        self.ready = True

    def load(self) -> bool:
        """Whether it is loaded; kserve calls this on the event loop for a model that is not ready."""
        return bool(self.ready)

    async def run(self, work: Callable[[], Any]) -> Any:
        """Run work in the scoring thread, so that no body, however large, holds up the health check."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def answer_v1(self, body: bytes) -> dict[str, Any]:
        """Answer a V1 body.

        Raises:
            InputError: The client's mistake, with its place and mend.
        """
        return self._v1(wire.parse(body))

    def answer_v2(self, body: bytes, json_length: int | None) -> dict[str, Any]:
        """Answer a V2 body, whose first `json_length` bytes are JSON; None: all.

        Raises:
            InputError: The client's mistake, with its place and mend.
        """
        length = len(body) if json_length is None else json_length
        if length > len(body):
            raise InputError(
                f"Inference-Header-Content-Length is {length}, the body has {len(body)} bytes", "send the body whole"
            )
        request = tensors.v2_request(wire.parse(body[:length]), body[length:])
        return wire.v2_answer(self._v2(request), self.name, self.version, request.id)

    def metadata(self) -> dict[str, Any]:
        """V2 metadata: columns and outputs with their types, and what package this is."""
        package = self.package
        inputs, outputs = wire.v2_metadata(package.schema, package.classes, self._mode)
        parameters = {
            "task": package.task,
            "classes": package.classes,
            "libraries": dict(package.manifest.environment.libraries),
            "signature": package.signature,
        }
        return {
            "name": self.name,
            "versions": [package.digest],
            "platform": "kubeloop",
            "inputs": inputs,
            "outputs": outputs,
            "parameters": parameters,
        }

    def get_input_types(self) -> list[dict[str, Any]]:
        """For kserve's gRPC metadata."""
        return cast(list[dict[str, Any]], self.metadata()["inputs"])

    def get_output_types(self) -> list[dict[str, Any]]:
        """For kserve's gRPC metadata."""
        return cast(list[dict[str, Any]], self.metadata()["outputs"])

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """What kserve hands on: V2 over gRPC, and any request that did not come through the door.

        Raises:
            InvalidInput: The client's mistake, in kserve's own error.
        """
        self.package  # noqa: B018 - not loaded yet is the server's state, not the client's mistake
        try:
            if isinstance(payload, InferRequest):
                return await self.run(lambda: self._from_kserve(payload))
            if isinstance(payload, dict):
                return await self.run(lambda: self._v1(payload))
        except InputError as error:
            raise InvalidInput(wire.v2_error(error)["error"]) from None
        raise InvalidInput("a V1 or V2 request was expected")

    def _v1(self, document: dict[str, Any]) -> dict[str, Any]:
        return wire.v1_answer(self._ask(wire.v1_rows(document)), self._mode)

    def _v2(self, request: tensors.Request) -> list[wire.Tensor]:
        rows = tensors.rows_of(request.inputs, self.package.schema)
        return wire.v2_tensors(self._ask(rows), self._mode, request.wanted, self.package.classes)

    def _ask(self, rows: wire.Rows) -> Answers:
        with PREDICT_HIST_TIME.labels(**get_labels(self.name)).time():
            return self.package.predict(rows)

    def _from_kserve(self, payload: InferRequest) -> InferResponse:
        inputs = [
            tensors.decode_input(item.name, list(item.shape), item.datatype, _values(item), item._raw_data)
            for item in payload.inputs
        ]
        if not inputs:
            raise InputError("no tensor came", "send one tensor of all columns, or one per column")
        wanted = [output.name for output in payload.request_outputs or []]
        made = self._v2(tensors.Request(payload.id, inputs, wanted))
        outputs = [InferOutput(item.name, item.shape, item.datatype, _encoded(item)) for item in made]
        return InferResponse(payload.id, self.name, outputs, model_version=self.version)


def _values(item: Any) -> list[Any] | None:
    return None if item.data is None else list(item.data)


def _encoded(item: wire.Tensor) -> list[Any]:
    """Data for gRPC, which carries BYTES as bytes."""
    return [value.encode("utf-8") for value in item.data] if item.datatype == "BYTES" else item.data
