"""Boot a package behind a real server and hold its answers over the wire against the golden ones."""

import http.client
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.errors import PermanentError
from kubeloop.packaging.manifest import GOLDEN_ID, Cell, Golden, Manifest
from kubeloop.packaging.read import read_package
from kubeloop.serving import process
from kubeloop.site.load import load_site
from kubeloop.site.model import Site

if TYPE_CHECKING:
    from kubeloop.learning.answers import Answers

TOLERANCE = 1e-12
"""How far an answer may be off, relative to the expected one where that is above 1."""

PROTOCOLS = ("v1", "v2")

GOLDEN_HEADERS = {"X-Request-Id": GOLDEN_ID, "Ce-Id": GOLDEN_ID}
"""Of golden requests, which are nobody's: our predictor's own log knows them by the first, and KServe's agent takes the
id of its events from the second, whatever headers it was told to pass on."""

_TIMEOUT_S = 30.0
_DATATYPES = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "timestamp": "FP64"}
Ask = Callable[[str, bytes], tuple[int, bytes]]
"""Posts JSON to a path of an endpoint, and gives HTTP status and body; raises OSError where there is no answer."""

_Triple = tuple[Any, Any, Any]  # label, probabilities, value of one row; None where there is none


def trial(package: Path, name: str, answers: str, site: Site | None = None) -> dict[str, Any]:
    """Prove that a package serves: boot it as it will be served, ask the golden requests, compare, stop it.

    Args:
        package: The package folder.
        name: The name under which it shall be served.
        answers: `labels`, `probabilities` or `both`, as in the contract.
        site: Whose home and trusted keys; None: this process's Site.

    Returns:
        `golden` (requests asked per protocol), `max_difference`, `boot_s`, `protocols` and `signature`.

    Raises:
        PermanentError: It does not boot, or an answer differs; the request is named.
        IntegrityError: The package is not what its digest says.
    """
    here = load_site() if site is None else site
    opened = read_package(package, site=here)
    manifest = opened.manifest
    with tempfile.TemporaryDirectory(prefix="kubeloop-trial-") as scratch:
        home = here.home or Path(scratch)
        running = process.start(package, name, Path(scratch) / "predictor.log", home, answers)
        try:
            boot_s = process.wait_ready(running)
            difference = replay(running.port, name, manifest)
        finally:
            process.stop(running)
    return {
        "golden": len(manifest.golden.requests),
        "max_difference": difference,
        "boot_s": round(boot_s, 3),
        "protocols": list(PROTOCOLS),
        "signature": opened.signature,
    }


def replay(port: int, name: str, manifest: Manifest) -> float:
    """As `replay_over`, against a predictor of this machine."""
    return replay_over(partial(post_to, process.HOST, port), name, manifest)


def replay_over(ask: Ask, name: str, manifest: Manifest) -> float:
    """Ask an endpoint the golden requests, over V1 one by one and over V2 all at once.

    Returns:
        The largest difference of a number.

    Raises:
        PermanentError: An answer differs, or there is none; the request is named.
    """
    golden = manifest.golden
    worst = 0.0
    for protocol, given in (("V1", _ask_v1(ask, name, golden)), ("V2", _ask_v2(ask, name, manifest))):
        for row, answer in enumerate(given, start=1):
            worst = max(worst, _compare(_expected(golden, row - 1), answer, protocol, row))
    return worst


def hold(golden: Golden, answers: "Answers") -> None:
    """Hold a model's answers to the golden requests, given in this process, against the expected ones.

    Raises:
        PermanentError: An answer differs; the request is named.
    """
    parts = (answers.labels, answers.probabilities, answers.values)
    plain = [None if part is None else part.tolist() for part in parts]
    for row in range(len(golden.requests)):
        label, probabilities, value = (None if part is None else part[row] for part in plain)
        _compare(_expected(golden, row), (label, probabilities, value), "in process", row + 1)


def _ask_v1(ask: Ask, name: str, golden: Golden) -> Iterator[_Triple]:
    for row, request in enumerate(golden.requests, start=1):
        place = f"V1, golden request {row}"
        answer = _post(ask, f"/v1/models/{name}:predict", {"instances": [list(request)]}, place)
        first = {key: answer[key][0] for key in ("predictions", "probabilities") if answer.get(key)}
        yield _triple(golden, first.get("predictions"), first.get("probabilities"))


def _ask_v2(ask: Ask, name: str, manifest: Manifest) -> Iterator[_Triple]:
    golden = manifest.golden
    inputs = [
        _tensor(feature.name, feature.kind, [request[i] for request in golden.requests])
        for i, feature in enumerate(manifest.features)
    ]
    answer = _post(ask, f"/v2/models/{name}/infer", {"inputs": inputs}, "V2, all golden requests")
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    size, width = len(golden.requests), len(manifest.classes)
    labels = outputs.get("predictions", [None] * size)
    flat = outputs.get("probabilities")
    for row in range(size):
        yield _triple(golden, labels[row], flat and flat[row * width : (row + 1) * width])


def _tensor(name: str, kind: str, values: Sequence[Cell]) -> dict[str, Any]:
    return {"name": name, "shape": [len(values)], "datatype": _DATATYPES[kind], "data": list(values)}


def _triple(golden: Golden, prediction: Any, probabilities: Any) -> _Triple:
    return (None, None, prediction) if golden.labels is None else (prediction, probabilities, None)


def _expected(golden: Golden, row: int) -> _Triple:
    parts = (golden.labels, golden.probabilities, golden.values)
    label, probabilities, value = (None if part is None else part[row] for part in parts)
    return label, probabilities, value


def _compare(expected: _Triple, given: _Triple, protocol: str, row: int) -> float:
    """The largest difference in one row's answer; what this endpoint does not give is not compared."""
    place = f"{protocol}, golden request {row}"
    label, probabilities, value = given
    if label is not None and label != expected[0]:
        raise _differs(place, f"the label {expected[0]!r}", repr(label))
    pairs = list(zip(expected[1], probabilities, strict=True)) if probabilities is not None else []
    if value is not None:
        pairs.append((expected[2], value))
    if not pairs and label is None:
        raise _differs(place, "an answer", "nothing")
    worst = 0.0
    for wanted, got in pairs:
        apart = abs(wanted - got) / max(1.0, abs(wanted))
        if not apart <= TOLERANCE:
            raise _differs(place, repr(wanted), repr(got))
        worst = max(worst, apart)
    return worst


def _differs(place: str, wanted: str, got: str) -> PermanentError:
    return PermanentError(
        f"{place}: {wanted} was expected as when the model was judged, the server answered {got}",
        "train and register again with the library versions that serve; this package was not deployed",
        request=place,
    )


def post_to(host: str, port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """POST a JSON body; the status and the body that come back.

    Raises:
        OSError: There is no answer.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **GOLDEN_HEADERS})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _post(ask: Ask, path: str, body: Mapping[str, Any], place: str) -> dict[str, Any]:
    began = time.monotonic()
    try:
        status, text = ask(path, json.dumps(body).encode())
    except (OSError, http.client.HTTPException) as error:
        raise PermanentError(
            f"{place}: an answer was expected, {type(error).__name__} came after {time.monotonic() - began:.1f} s",
            "see the predictor's log",
            request=place,
        ) from error
    if status != 200:
        raise PermanentError(
            f"{place}: 200 was expected, {status} came: {text[:500].decode(errors='replace')}",
            "the package refuses its own golden request; train and register again",
            request=place,
        )
    found: dict[str, Any] = json.loads(text)
    return found
