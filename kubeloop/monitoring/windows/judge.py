"""Judge a window against a reference profile."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.detectors.answers import Answered, loss_columns, prediction_columns
from kubeloop.monitoring.detectors.protocol import Detector, detector_of
from kubeloop.monitoring.detectors.rows import Rows, read_rows
from kubeloop.monitoring.reference.bins import MISSING, Encoded, count, encode_columns, row_keys
from kubeloop.monitoring.reference.family import Family, evenly
from kubeloop.monitoring.reference.fit import encode_losses, outside_flags
from kubeloop.monitoring.reference.profile import PREDICTION, PROBABILITY, Profile
from kubeloop.monitoring.windows.verdict import Said, Verdict

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Judge:
    """Says of windows what is worth telling.

    Args:
        profile: The reference.
        detector: The engine; that of the profile's contract where not given.
    """

    def __init__(self, profile: Profile, detector: Detector | None = None) -> None:
        self.profile = profile
        self._detector = detector_of(profile.detectors.engine) if detector is None else detector

    def inputs(
        self,
        table: "pa.Table | pd.DataFrame",
        answered: Answered | None = None,
        skipped: Mapping[str, int] | None = None,
    ) -> Verdict:
        """Inputs and predictions, for which no label is needed.

        Args:
            table: (n, columns) rows of inputs by the schema's names; further columns are left out.
            answered: What the model answered.
            skipped: By reason: rows that are not in the table; they are said.

        Raises:
            InputError: A column of the schema is missing.
        """
        rows = read_rows(table, self.profile.schema)
        encoded, unusual, notes = self._encode(rows, answered)
        notes += [f"{count} left out: {reason}" for reason, count in sorted((skipped or {}).items()) if count]
        return self._judge(self.profile.inputs, encoded, unusual, notes)

    def labels(self, answered: Answered, truth: NDArray[Any]) -> Verdict:
        """Losses, once the truth is known.

        Args:
            answered: What the model answered.
            truth: (n,) labels, or numbers.

        Raises:
            InputError: There are not as many labels as answers.
        """
        profile = self.profile
        losses = loss_columns(answered, truth, profile.task, profile.classes, profile.positive)
        if profile.labels is None:
            note = "the reference holds no losses, so lost performance is not told"
            return Verdict(len(truth), 0, (), {}, (note,), self._detector.name)
        return self._judge(profile.labels, encode_losses(profile.labels.columns, losses), {}, [])

    def _encode(self, rows: Rows, answered: Answered | None) -> tuple[Encoded, dict[str, tuple[int, ...]], list[str]]:
        profile, notes, size = self.profile, [], len(rows)
        values: dict[str, NDArray[Any]] = dict(rows.values)
        watched = {signal.column for signal in profile.inputs.signals if signal.group == "prediction"}
        if watched:
            absent = Answered(np.full(size, None, dtype=object))
            values |= prediction_columns(answered or absent, profile.task, profile.classes, profile.positive)
            lacking = [name for name in (PREDICTION, PROBABILITY) if name in watched and _none(values[name])]
            if lacking and size:
                notes.append(f"no answer in the window has {' or '.join(lacking)}: not told")
        flags, unusual = [], {}
        for kind, model in (("outliers", profile.outliers), ("novel", profile.novel)):
            if model is not None:
                flagged = self._detector.scores(model, rows.values) > model.threshold if size else np.zeros(0, bool)
                flags.append(flagged)
                unusual[kind] = tuple(np.flatnonzero(flagged).tolist())
        columns = profile.inputs.columns
        watched_inputs = [column for column in columns if column.name in rows.values]
        encoded = Encoded(
            encode_columns(columns, values),
            np.column_stack([*outside_flags(watched_inputs, values), rows.mistyped, *flags]),
            row_keys(rows.values, size),
        )
        return encoded, unusual, notes

    def _judge(
        self, family: Family, encoded: Encoded, unusual: Mapping[str, tuple[int, ...]], notes: list[str]
    ) -> Verdict:
        words, size = self.profile.detectors, len(encoded)
        null = family.null_for(size) if size >= words.window.minimum_rows else None
        if null is None:
            least = max(words.window.minimum_rows, family.nulls[0].size if family.nulls else 0)
            why = f"{size} rows, at least {least} are needed: not judged"
            if not family.nulls:
                why = f"{size} rows, but the reference of {family.rows} rows is too small to judge any window"
            return Verdict(size, 0, (), unusual, (*notes, why), self._detector.name)
        part = evenly(encoded, null.size)
        answers = family.answer(part, null, self._detector.distances(family, part))
        least_effect = {True: words.share, False: words.effect}
        said = tuple(
            Said(one, one.corrected <= words.rate and one.effect >= least_effect[one.signal.share]) for one in answers
        )
        notes += self._likened(family, part, said)
        notes += _strange(family, part, {signal.column for signal in family.signals if signal.kind == "drift"})
        return Verdict(size, null.size, said, unusual, tuple(notes), self._detector.name)

    def _likened(self, family: Family, window: Encoded, said: Sequence[Said]) -> list[str]:
        """Which place of training rows that drifted are most like: they may be of one that was not trained on."""
        inputs = [one for one in said if one.answer.signal.kind == "drift" and one.answer.signal.group == "input"]
        if self.profile.sites is None or not any(one.told for one in inputs):
            return []
        words = self.profile.sites.say(len(inputs), family.tests, count(window.codes), family.bins)
        return [words] if words else []


def _none(values: NDArray[Any]) -> bool:
    if values.dtype == object:
        return all(value is None for value in values)
    return bool(np.isnan(values).all())


def _strange(family: Family, window: Encoded, columns: set[str]) -> list[str]:
    """Columns of the window that have no value, or lie in one bin where training had many."""
    notes = []
    for place, column in enumerate(family.columns):
        if column.name not in columns:
            continue
        codes = window.codes[:, place]
        present = codes[codes != MISSING]
        if not present.size:
            notes.append(f"{column.name} has no value in any row")
        elif np.all(present == present[0]) and np.count_nonzero(family.bins[place, :MISSING]) > 1:
            # Of a number only its bin is known here: all that lies above training is in the last one.
            held = "is the same" if column.edges is None else "lies in one and the same bin of training"
            notes.append(f"{column.name} {held} in every row")
    return notes
