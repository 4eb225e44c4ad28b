"""What an engine is: something that measures distances. What a distance means is decided once, for all engines."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from kubeloop.errors import InputError, PermanentError
from kubeloop.monitoring.detectors.centres import Centres
from kubeloop.monitoring.detectors.forest import Forest
from kubeloop.monitoring.reference.bins import Encoded, Floats
from kubeloop.monitoring.reference.family import Family


class Detector(Protocol):
    """Measures how far rows lie from a reference.

    Both engines measure the same quantities on the same bins, so that one null decides for both.
    """

    name: str

    def distances(self, family: Family, window: Encoded) -> Floats | None:
        """(columns,) as `kubeloop.monitoring.reference.distances`, NaN where not told; None: as by that function."""

    def scores(self, model: Centres | Forest, values: Mapping[str, NDArray[Any]]) -> Floats:
        """(n,) how unusual each row is."""


def detector_of(engine: str) -> Detector:
    """The engine by its name in the contract.

    Raises:
        InputError: There is no engine of this name.
        PermanentError: alibi-detect is asked for and is not installed.
    """
    if engine == "native":
        from kubeloop.monitoring.detectors.native import Native

        return Native()
    if engine == "alibi":
        try:
            from kubeloop.monitoring.detectors.alibi import Alibi
        except ModuleNotFoundError as error:
            raise PermanentError(
                "the engine `alibi` was asked for, but alibi-detect is not installed",
                "install kubeloop[alibi], or write `engine: native` under monitoring.detectors, which decides the same",
            ) from error
        return Alibi()
    raise InputError(f"native or alibi was expected as engine, got {engine!r}", "name one of the two")
