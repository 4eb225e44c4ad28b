"""The engine that needs numpy alone: distances from counts in bins, for all columns at once."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from kubeloop.monitoring.detectors.centres import Centres
from kubeloop.monitoring.detectors.forest import Forest
from kubeloop.monitoring.reference.bins import Encoded, Floats
from kubeloop.monitoring.reference.family import Family


class Native:
    """See `kubeloop.monitoring.detectors.protocol.Detector`."""

    name = "native"

    def distances(self, family: Family, window: Encoded) -> Floats | None:
        """The family's own."""
        del family, window
        return None

    def scores(self, model: Centres | Forest, values: Mapping[str, NDArray[Any]]) -> Floats:
        """The model's own."""
        return model.scores(values)
