"""The package as a kserve.Model: the careful path, which answers what is right and says what is wrong with the rest."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ServerNotReady
from kserve.metrics import PREDICT_HIST_TIME, get_labels

from kubeloop.contract.serving import RequestLogs, Slo
from kubeloop.contract.target import Task
from kubeloop.errors import InputError
from kubeloop.learning.answers import Answers, answer, class_array
from kubeloop.learning.inputs import to_frame
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.scorer import load_scorer
from kubeloop.serving import tensors, wire
from kubeloop.serving.batching import scores_of
from kubeloop.serving.fast import Codec, Rows, Scorer, Scores
from kubeloop.serving.gate import SHARE, BusyError, Line
from kubeloop.serving.predictor import mode_of
from kubeloop.serving.trial import hold

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Reply:
    """An answer to a request over HTTP.

    Attributes:
        answer: What `wire.dump` makes the body of.
        rows: How many rows it answers.
        outside: Columns with a value outside the contract's rules.
        ignored: Columns that came and that the model does not have.
    """

    answer: Any
    rows: int
    outside: list[str]
    ignored: list[str] = field(default_factory=list)


class Loading(ServerNotReady):  # type: ignore[misc]
    """The model is not loaded yet; kserve's gRPC side reads `reason`, which its own class lacks."""

    reason = "the model is loading"


class Busy(ServerNotReady):  # type: ignore[misc]
    """Above capacity, for kserve's gRPC side."""

    reason = "this endpoint is above its capacity; ask again in a second"


class PackageModel(Model):  # type: ignore[misc]
    """One package, not ready until it has answered its own golden requests.

    Args:
        name: The model's name on the endpoint's path.
        folder: The package folder.
        mode: Which answers a classifier gives; None: as the package's contract says.

    Attributes:
        codec: The package's bodies and rows, once loaded.
        scorer: Its compiled plan, once loaded; None: scikit-learn scores.
        promise_s: The contract's p99 in seconds, once loaded.
        request_log: Which requests get a line by the contract, once loaded.
        pool: The scoring thread.
    """

    codec: Codec

    def __init__(self, name: str, folder: Path, mode: wire.Mode | None) -> None:
        super().__init__(name)
        self.enable_latency_logging = False
        self._folder = folder
        self._asked = mode
        self._package: Package | None = None
        self._mode: wire.Mode = "both"
        self.scorer: Scorer | None = None
        self.promise_s = 0.0
        self.request_log: RequestLogs = "errors"
        self._line = Line()
        # One thread: more would only share the interpreter's lock and make answers wait for each other.
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="score")

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

        It is ready once the server says so.

        Raises:
            IntegrityError: The package is not what its digest says.
            PermanentError: It answers otherwise than when judged.
        """
        package = read_package(self._folder)
        answers = package.predict(list(package.golden.requests))
        hold(package.golden, answers)
        serving = package.manifest.contract.get("serving") or {}
        self._mode = self._asked or mode_of(serving.get("answers"))
        self.promise_s = Slo.model_validate(serving.get("slo") or {}).p99_ms / 1e3
        self.request_log = serving.get("request_log") or "errors"  # a package of before there was the word
        self.codec = Codec(package, self._mode, self.name)
        self.scorer = load_scorer(package)
        if self.scorer is not None:
            hold(package.golden, with_plan(answers, self.scorer, package))
        self._package = package

    def load(self) -> bool:
        """Whether it is loaded; kserve calls this on the event loop for a model that is not ready."""
        return bool(self.ready)

    def begin(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Begin work in the scoring thread, so that no body, however large, holds up the health check.

        Raises:
            BusyError: Too much waits there already.
        """
        self._line.enter(self.promise_s * SHARE)
        took_s = 0.0

        def timed() -> Any:
            nonlocal took_s
            began = perf_counter()
            try:
                return work()
            finally:
                took_s = perf_counter() - began

        begun = asyncio.get_running_loop().run_in_executor(self.pool, timed)
        begun.add_done_callback(lambda _: self._line.leave(took_s))
        return begun

    async def run(self, work: Callable[[], Any]) -> Any:
        """What comes of work in the scoring thread.

        Raises:
            BusyError: As `begin`.
        """
        return await self.begin(work)

    def reply(self, body: bytes, json_length: int | None, *, v2: bool) -> Reply:
        """Answer a body; in V2 its first `json_length` bytes are JSON and binary tensors follow; None: all is JSON.

        Raises:
            InputError: The client's mistake, with its place and mend.
        """
        if self.scorer is not None:
            with suppress(Unscorable):
                return self._short(body, json_length, self.scorer, v2=v2)
        if not v2:
            return self._v1(wire.parse(body))
        length = len(body) if json_length is None else json_length
        if length > len(body):
            raise InputError(
                f"Inference-Header-Content-Length is {length}, the body has {len(body)} bytes", "send the body whole"
            )
        request = tensors.v2_request(wire.parse(body[:length]), body[length:])
        made, notes = self._v2(request)
        notes.answer = wire.v2_answer(made, self.name, self.version, request.id)
        return notes

    def _short(self, body: bytes, json_length: int | None, scorer: Scorer, *, v2: bool) -> Reply:
        """What the fast path would answer; it leaves what came packed, or as an event, to this one.

        Raises:
            Unscorable: It is not plainly right.
        """
        if v2:
            rows, request_id = self.codec.v2_rows(body, json_length)
            answer = self.codec.v2_body(scorer.score_rows(rows), request_id)
        else:
            rows = self.codec.v1_rows(body)
            answer = self.codec.v1_body(scorer.score_rows(rows))
        return Reply(orjson.Fragment(answer), len(rows), self.codec.rules.outside(rows))

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
                return (await self.run(lambda: self._v1(payload))).answer
        except InputError as error:
            raise InvalidInput(wire.v2_error(error)["error"]) from None
        except BusyError:
            raise Busy from None
        raise InvalidInput("a V1 or V2 request was expected")

    def _v1(self, document: dict[str, Any]) -> Reply:
        rows = wire.v1_rows(document)
        answers, notes = self._ask(rows)
        notes.answer = wire.v1_answer(answers, self._mode)
        notes.ignored = wire.unknown_keys(rows, self.codec.rules.names)
        return notes

    def _v2(self, request: tensors.Request) -> tuple[list[wire.Tensor], Reply]:
        rows, ignored = tensors.rows_of(request.inputs, self.package.schema)
        answers, notes = self._ask(rows)
        notes.ignored = ignored
        return wire.v2_tensors(answers, self._mode, request.wanted, self.package.classes), notes

    def _ask(self, rows: wire.Rows) -> tuple[Answers, Reply]:
        package = self.package
        with PREDICT_HIST_TIME.labels(**get_labels(self.name)).time():
            frame = to_frame(rows, package.schema)
            answers = self._answers(frame)
        return answers, Reply(None, len(frame), self.codec.rules.outside_frame(frame))

    def predict_rows(self, rows: Rows) -> Scores:
        """Scores by scikit-learn of rows that the fast path has read.

        Raises:
            InputError: A cell is wrong.
        """
        return scores_of(self._answers(to_frame(list(rows), self.package.schema)))

    def _answers(self, frame: "pd.DataFrame") -> Answers:
        """Answers of scikit-learn to a frame that fits the schema.

        Raises:
            InputError: The model cannot take a row all the same: a forest computes in 32 bits, and has no infinity.
        """
        package = self.package
        estimator, task = package.load(), cast(Task, package.task)

        def refuses(first: int, end: int) -> bool:
            try:
                answer(estimator, frame.iloc[first:end], package.classes, task)
            except ValueError:
                return True
            return False

        try:
            return answer(estimator, frame, package.classes, task)
        except ValueError as error:
            first, end = 0, len(frame)
            while end - first > 1:  # scikit-learn does not say which row
                middle = (first + end) // 2
                first, end = (first, middle) if refuses(first, middle) else (middle, end)
            raise InputError(
                f"row {end}: the model cannot take its values: a number is too large, or a value of a kind it lacks",
                "give values of the size and kind that the model was trained on",
                row=end,
            ) from error

    def _from_kserve(self, payload: InferRequest) -> InferResponse:
        inputs = [
            tensors.decode_input(item.name, list(item.shape), item.datatype, _values(item), item._raw_data)
            for item in payload.inputs
        ]
        if not inputs:
            raise InputError("no tensor came", "send one tensor of all columns, or one per column")
        wanted = [output.name for output in payload.request_outputs or []]
        made, _ = self._v2(tensors.Request(payload.id, inputs, wanted))
        outputs = [InferOutput(item.name, item.shape, item.datatype, _encoded(item)) for item in made]
        return InferResponse(payload.id, self.name, outputs, model_version=self.version)


def with_plan(answers: Answers, scorer: Scorer, package: Package) -> Answers:
    """The answers to the golden requests, by the plan where it takes one: it too must answer as judged."""
    scores = scores_of(answers)
    for place, request in enumerate(package.golden.requests):
        with suppress(Unscorable):
            (scores[place],) = scorer.score_rows([list(request)])
    found = np.asarray(scores)
    if package.task == "regression":
        return Answers(values=found[:, 0])
    return Answers(labels=class_array(package.classes)[found.argmax(axis=1)], probabilities=found)


def _values(item: Any) -> list[Any] | None:
    return None if item.data is None else list(item.data)


def _encoded(item: wire.Tensor) -> list[Any]:
    """Data for gRPC, which carries BYTES as bytes."""
    return [value.encode("utf-8") for value in item.data] if item.datatype == "BYTES" else item.data
