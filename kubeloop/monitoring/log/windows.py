"""Windows: slices of the inference log, by rows and by time, as detectors and performance metrics take them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError
from kubeloop.monitoring.log.models import LoggedModel

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa


@dataclass(frozen=True)
class WindowKey:
    """Whose rows.

    Attributes:
        namespace: Of the InferenceService; the Site's on a laptop.
        service: The InferenceService's name; the model's name on a laptop.
        component: `predictor`, `transformer` or `explainer`.
        version: Only rows that this version answered, as `LoggedModel.version`; None: of all versions whose columns
            and classes equal those of the newest.
    """

    namespace: str
    service: str
    component: str = "predictor"
    version: str | None = None


@dataclass(frozen=True)
class Window:
    """n logged rows, the oldest first. One request may hold many rows; (event_ids, rows) names a row.

    Attributes:
        key: Whose rows.
        model: Columns, classes and task of all rows.
        features: (n, columns), named and ordered as the package's schema. Kinds `number`, `boolean` (0.0, 1.0) and
            `timestamp` (seconds since 1970 UTC) are float64, `category` is string; a missing value is null, never NaN.
        predictions: (n,) object: the label in the type of the class, or a float in regression; None where no answer
            was logged.
        probabilities: (n, k) float64 in the order of `model.classes`, NaN rows where none were logged; None where no
            row has any.
        event_ids: (n,) object of str.
        rows: (n,) int64, number of the row within its request, from 0.
        times: (n,) datetime64[us], UTC: when the request came.
        versions: (n,) object of str: the model's version of each row.
        answered: (n,) bool: whether the answer was logged. The logger drops answers, and never logs those of errors.
        skipped: By reason: rows or events within the window that are not in it, such as `no_request` (only an answer
            was logged), `bad_cell` (a value that is none of its column's kind), `other_model` (other columns).
    """

    key: WindowKey
    model: LoggedModel
    features: "pa.Table"
    predictions: NDArray[np.object_]
    probabilities: NDArray[np.float64] | None
    event_ids: NDArray[np.object_]
    rows: NDArray[np.int64]
    times: NDArray[np.datetime64]
    versions: NDArray[np.object_]
    answered: NDArray[np.bool_]
    skipped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.event_ids)


def read_window(
    store: "sa.Engine",
    key: WindowKey,
    *,
    rows: int | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> Window:
    """The rows of a service within [since, until), or the newest `rows` of them.

    Args:
        store: From `kubeloop.store.open_engine`.
        key: Whose rows.
        rows: At most so many, the newest; a request is not cut in two but at the window's old end. None: all.
        since: The first moment, with a time zone; None: from the beginning.
        until: The moment after the last, with a time zone; None: to the end.

    Returns:
        The window; it may be empty.

    Raises:
        InputError: The service or its version has logged nothing, ever; a moment has no time zone.
    """
    from kubeloop.monitoring.log.reading import events_between, services_models

    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise InputError(f"a moment with a time zone was expected, got {moment}", "say in which zone it is")
    service, models = services_models(store, key)
    newest = max(models)
    alike = {number: model for number, model in models.items() if model.digest() == models[newest].digest()}
    found = events_between(store, service, list(models), rows=rows, since=since, until=until)
    return window_of(key, alike, models[newest], found, rows)


@dataclass(frozen=True)
class LoggedEvent:
    """One request and its answer as they lie in the store.

    Attributes:
        event_id: Its id.
        model: Number of the model that answered.
        at: When the request came: microseconds since 1970 UTC.
        inputs: JSON: a list of rows, each a list of cells; None: no request was logged.
        outputs: JSON: `[predictions, probabilities or null]`; None: no answer was logged.
    """

    event_id: str
    model: int
    at: int
    inputs: bytes | None
    outputs: bytes | None


def window_of(
    key: WindowKey,
    models: Mapping[int, LoggedModel],
    model: LoggedModel,
    events: Sequence[LoggedEvent],
    rows: int | None = None,
) -> Window:
    """The window of events, the oldest first.

    Args:
        key: Whose.
        models: By number: models of the same columns and classes; events of others are counted and left out.
        model: The newest of them.
        events: The events.
        rows: Keep only the newest so many rows; None: all.
    """
    from kubeloop.monitoring.log.assembling import Assembly

    assembly = Assembly(model, models)
    assembly.add(events)
    return assembly.window(key, rows)
