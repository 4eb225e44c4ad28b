"""From logged events to the columns of a window; one bad value costs its row, never the window."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError
from kubeloop.learning.inputs import category_text, to_frame
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.windows import LoggedEvent, Window, WindowKey

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 4096
"""Rows that are looked at together; a bad one among them halves the chunk until it is alone."""

Answer = tuple[Any, Any]
"""Prediction and list of probabilities of a row; None: none."""


class Assembly:
    """Collects events and makes a window of them.

    Args:
        model: Whose columns the window has.
        models: By number: the models of these columns.
    """

    def __init__(self, model: LoggedModel, models: Mapping[int, LoggedModel]) -> None:
        self._model = model
        self._models = models
        self._class_of = model.class_words()
        self._cells: list[list[Any]] = []
        self._answers: list[Answer] = []
        self._names: list[tuple[str, int, int, str]] = []  # event id, row, microseconds, version
        self._skipped: Counter[str] = Counter()

    def add(self, events: Sequence[LoggedEvent]) -> None:
        """Take events; the oldest first."""
        for event in events:
            version = self._models.get(event.model)
            if version is None:
                self._skipped["other_model"] += 1
            elif event.inputs is None:
                self._skipped["no_request"] += 1
            else:
                self._event(event, version.version)

    def _event(self, event: LoggedEvent, version: str) -> None:
        rows = json.loads(event.inputs or b"[]")
        if any(len(row) != len(self._model.columns) for row in rows):
            self._skipped["other_width"] += 1
            return
        self._cells += rows
        self._answers += self._answered(event, len(rows))
        self._names += [(event.event_id, row, event.at, version) for row in range(len(rows))]

    def _answered(self, event: LoggedEvent, size: int) -> list[Answer]:
        if event.outputs is None:
            return [(None, None)] * size
        predictions, probabilities = json.loads(event.outputs)
        found = predictions if predictions is not None else [None] * size
        shares = probabilities if probabilities is not None else [None] * size
        if len(found) != size or len(shares) != size:
            self._skipped["answer_of_other_size"] += 1
            return [(None, None)] * size
        return [(self._label(label, share), share) for label, share in zip(found, shares, strict=True)]

    def _label(self, label: Any, share: Any) -> Any:
        """The label in the type of its class; where only probabilities were answered, the class of the largest."""
        if self._model.task == "regression":
            return label
        if label is None and share and len(share) == len(self._model.classes):
            return self._model.classes[int(np.argmax(share))]
        return self._class_of.get(category_text(label), label)

    def window(self, key: WindowKey, rows: int | None) -> Window:
        """The window of what was taken; only its newest `rows` rows."""
        if rows is not None and len(self._cells) > rows:
            for each in (self._cells, self._answers, self._names):
                del each[: len(each) - rows]
        frame, good = self._frame()
        names = [self._names[place] for place in good]
        answers = [self._answers[place] for place in good]
        return Window(
            key=key,
            model=self._model,
            features=_table(frame),
            predictions=_objects([label for label, _ in answers]),
            probabilities=self._probabilities(answers),
            event_ids=_objects([name[0] for name in names]),
            rows=np.array([name[1] for name in names], dtype=np.int64),
            times=np.array([name[2] for name in names], dtype="datetime64[us]"),
            versions=_objects([name[3] for name in names]),
            answered=np.array([label is not None for label, _ in answers], dtype=np.bool_),
            skipped=dict(self._skipped),
        )

    def _probabilities(self, answers: Sequence[Answer]) -> NDArray[np.float64] | None:
        width = len(self._model.classes)
        made = np.full((len(answers), width), np.nan)
        for place, (_, share) in enumerate(answers):
            if share is not None and len(share) == width:
                made[place] = share
        return made if width and np.isfinite(made).any() else None

    def _frame(self) -> "tuple[pd.DataFrame, list[int]]":
        import pandas as pd

        schema = self._model.schema_
        frames: list[pd.DataFrame] = []
        good: list[int] = []
        waiting = [range(start, min(start + _CHUNK, len(self._cells))) for start in range(0, len(self._cells), _CHUNK)]
        waiting.reverse()
        while waiting:
            places = waiting.pop()
            try:
                frames.append(to_frame(self._cells[places.start : places.stop], schema))
                good += places
            except InputError:
                if len(places) == 1:
                    self._skipped["bad_cell"] += 1
                    continue
                middle = places.start + len(places) // 2
                waiting += [range(middle, places.stop), range(places.start, middle)]
        return (pd.concat(frames, ignore_index=True) if frames else to_frame([], schema)), good


def _table(frame: "pd.DataFrame") -> Any:
    import pyarrow as pa

    kinds = {name: pa.string() if frame[name].dtype == object else pa.float64() for name in frame.columns}
    arrays = [pa.array(frame[name], type=kind, from_pandas=True) for name, kind in kinds.items()]
    return pa.Table.from_arrays(arrays, names=list(kinds))


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
