"""Load on a running server, and what it cost: wrk over HTTP, grpcio over gRPC."""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.bench.serving.servers import Running
from tests.bench.serving.workload import COLUMNS, NAME, TEXTS, rows

PATHS = {"V1": f"/v1/models/{NAME}:predict", "V2": f"/v2/models/{NAME}/infer"}
_SCRIPT = """
local file = io.open({body!r}, "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
done = function(summary, latency)
  io.write(string.format('\\n{{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
    + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Measured:
    """One run of load.

    Attributes:
        cpu_ms: User and system time of the server, per request.
        per_s: Requests per second.
        p50_ms: Median of what the clients saw.
        p99_ms: Likewise, of 99 in 100.
    """

    cpu_ms: float
    per_s: float
    p50_ms: float
    p99_ms: float


def wrk(running: Running, path: str, body: bytes, clients: int, seconds: int, scratch: Path) -> Measured:
    """Ask over HTTP from so many connections, each as soon as it has its answer; every answer has to be 200."""
    content, script = scratch / "body", scratch / "wrk.lua"
    content.write_bytes(body)
    script.write_text(_SCRIPT.format(body=str(content)))
    url = f"http://127.0.0.1:{running.port}{path}"
    before = running.cpu_s()
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu_s = running.cpu_s() - before
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["failed"] == 0, done.stdout
    asked = max(found["requests"], 1)
    return Measured(cpu_s / asked * 1e3, asked / found["seconds"], found["p50_ms"], found["p99_ms"])


def grpc(running: Running, clients: int, seconds: float) -> Measured:
    """Ask one row over gRPC from so many threads, each with a connection of its own."""
    import grpc as library  # type: ignore[import-untyped]

    request = grpc_request(1)

    def ask(call: Any, end: float) -> list[float]:
        took = []
        while (began := time.perf_counter()) < end:
            call(request, timeout=30)
            took.append(time.perf_counter() - began)
        return took

    with ExitStack() as stack:
        address = f"127.0.0.1:{running.grpc_port}"
        # A channel shares its connection with all others that were made alike.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [stack.enter_context(library.insecure_channel(address, options)) for _ in range(clients)]
        calls = [channel.unary_unary("/inference.GRPCInferenceService/ModelInfer") for channel in channels]
        for call in calls:
            call(request, timeout=30)
        before = running.cpu_s()
        with ThreadPoolExecutor(clients) as pool:
            end = time.perf_counter() + seconds
            took = sorted(value for part in pool.map(ask, calls, [end] * clients) for value in part)
        cpu_s = running.cpu_s() - before
    size = len(took)
    return Measured(cpu_s / size * 1e3, size / seconds, took[size // 2] * 1e3, took[size * 99 // 100] * 1e3)


def mean(parts: Sequence[Measured]) -> Measured:
    """Of several runs of one load."""
    return Measured(*(fmean(getattr(part, each.name) for part in parts) for each in fields(Measured)))


def grpc_request(count: int) -> bytes:
    """The bytes of a V2 request of so many rows, one tensor per column."""
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    request = pb.ModelInferRequest(model_name=NAME)
    request.parameters["content_type"].string_param = "pd"
    asked = rows(count)
    for name in COLUMNS:
        values: Sequence[Any] = [row[name] for row in asked]
        if name in TEXTS:
            item = request.inputs.add(name=name, datatype="BYTES", shape=[count])
            item.contents.bytes_contents.extend(text.encode() for text in values)
        else:
            item = request.inputs.add(name=name, datatype="FP64", shape=[count])
            item.contents.fp64_contents.extend(values)
    made: bytes = request.SerializeToString()
    return made


def has_wrk() -> bool:
    """Whether there is something to ask with."""
    return shutil.which("wrk") is not None
