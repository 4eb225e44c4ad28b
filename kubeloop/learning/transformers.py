"""Transformers that scikit-learn has not: data only once fitted, so that a model file can hold them.

Imported in training, and in serving when a model file names one of them.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin

Floats = NDArray[np.float64]

QUANTILES = 101
DAY_S = 86_400


def _moments(seconds: Floats) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Seconds since 1970 UTC as datetime64[s], and where they are known."""
    known = np.isfinite(seconds)
    return np.where(known, seconds, 0.0).astype(np.int64).view("datetime64[s]"), known


def _calendar(moments: NDArray[Any]) -> dict[str, Callable[[], NDArray[Any]]]:
    days = moments.astype("datetime64[D]")
    months = moments.astype("datetime64[M]")
    number = days.astype(np.int64)
    weekday = (number + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    thursday = days + (3 - weekday)  # the ISO week is that of its Thursday
    return {
        "year": lambda: moments.astype("datetime64[Y]").astype(np.int64) + 1970,
        "quarter": lambda: months.astype(np.int64) % 12 // 3 + 1,
        "month": lambda: months.astype(np.int64) % 12 + 1,
        "week": lambda: (thursday - thursday.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) // 7 + 1,
        "day": lambda: (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "day_of_year": lambda: (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1,
        "weekday": lambda: weekday,
        "weekend": lambda: weekday >= 5,
        "hour": lambda: moments.astype(np.int64) // 3600 % 24,
        "minute": lambda: moments.astype(np.int64) // 60 % 60,
        "epoch_days": lambda: number,
    }


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Parts of moments, in UTC.

    Args:
        parts: Words of `contract.features.DatePart`. Weekdays count from 0, Monday; weeks are those of ISO 8601.
    """

    def __init__(self, parts: tuple[str, ...] = ("hour",)) -> None:
        self.parts = parts

    def fit(self, x: Any, y: Any = None) -> "DateParts":
        """Nothing is learnt."""
        self.n_features_in_ = np.asarray(x).shape[1]
        return self

    def transform(self, x: Any) -> Floats:
        """(n, columns) seconds since 1970 UTC to (n, columns * parts) numbers; missing stays NaN."""
        found = []
        for column in np.asarray(x, dtype=np.float64).T:
            moments, known = _moments(column)
            calendar = _calendar(moments)
            found += [np.where(known, calendar[part]().astype(np.float64), np.nan) for part in self.parts]
        return np.column_stack(found)

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """`column_part`."""
        return np.array([f"{name}_{part}" for name in names for part in self.parts], dtype=object)


class DayInList(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Whether the day of a moment, in UTC, is one of given days.

    Args:
        days: (k,) int64 days since 1970-01-01.
    """

    def __init__(self, days: Any = None) -> None:
        self.days = days

    def fit(self, x: Any, y: Any = None) -> "DayInList":
        """Nothing is learnt."""
        self.n_features_in_ = np.asarray(x).shape[1]
        return self

    def transform(self, x: Any) -> Floats:
        """(n, columns) seconds since 1970 UTC to 0.0 and 1.0; a missing moment is no such day."""
        seconds = np.asarray(x, dtype=np.float64)
        days = np.where(np.isfinite(seconds), np.floor_divide(seconds, DAY_S), np.iinfo(np.int64).min // 2)
        return np.isin(days.astype(np.int64), self.days).astype(np.float64)

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """`column_holiday`."""
        return np.array([f"{name}_holiday" for name in names], dtype=object)


class JoinedCategories(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Two columns of text as one: a value per combination."""

    def fit(self, x: Any, y: Any = None) -> "JoinedCategories":
        """Nothing is learnt."""
        self.n_features_in_ = np.asarray(x, dtype=object).shape[1]
        return self

    def transform(self, x: Any) -> NDArray[Any]:
        """(n, columns) text to (n, 1) text; a missing part is a part of its own, like no text can be."""
        joined = np.empty((len(x), 1), dtype=object)
        # The length before each part keeps `a|` `b` and `a` `|b` apart.
        joined[:, 0] = [
            "".join("-1:" if part is None else f"{len(part)}:{part}" for part in row)
            for row in np.asarray(x, dtype=object).tolist()
        ]
        return joined

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """`a*b`."""
        return np.array(["*".join(names)], dtype=object)


class RandomSampleImputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fills missing numbers with a draw from the quantiles that training saw.

    The draw follows from the seed, the column and the whole row, so that one row gets the same draw whenever and
    beside whatever it comes; 101 quantiles are kept, and no row.

    Args:
        fill: How many of the first columns are filled and given on; all columns make up the row.
        seed: Of the draws.
    """

    def __init__(self, fill: int = 1, seed: int = 0) -> None:
        self.fill = fill
        self.seed = seed

    def fit(self, x: Any, y: Any = None) -> "RandomSampleImputer":
        """Take the quantiles; a column without any value is filled with 0."""
        values = np.asarray(x, dtype=np.float64)
        self.n_features_in_ = values.shape[1]
        levels = np.linspace(0, 1, QUANTILES)
        self.quantiles_ = np.zeros((self.fill, QUANTILES))
        for place in range(self.fill):
            known = values[:, place][~np.isnan(values[:, place])]
            if known.size:
                self.quantiles_[place] = np.quantile(known, levels, method="inverted_cdf")
        return self

    def transform(self, x: Any) -> Floats:
        """(n, columns) to (n, fill), without NaN."""
        values = np.asarray(x, dtype=np.float64)
        filled = values[:, : self.fill].copy()
        rows, places = np.nonzero(np.isnan(filled))
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            told = np.where(np.isnan(values[row]), np.nan, values[row] + 0.0)  # one NaN, one zero
            word = hashlib.sha256(f"{self.seed}:{place}:".encode() + told.astype(">f8").tobytes()).digest()
            filled[row, place] = self.quantiles_[place, int.from_bytes(word[:8], "big") % QUANTILES]
        return filled

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """The names of the filled columns."""
        return np.asarray(names, dtype=object)[: self.fill]


class MissingFlags(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """1.0 where a number is missing, for every column, whether training saw it missing or not."""

    def fit(self, x: Any, y: Any = None) -> "MissingFlags":
        """Nothing is learnt."""
        self.n_features_in_ = np.asarray(x).shape[1]
        return self

    def transform(self, x: Any) -> Floats:
        """(n, columns) to 0.0 and 1.0."""
        return np.isnan(np.asarray(x, dtype=np.float64)).astype(np.float64)


class KeptColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps the features that count for something; fitted where it stands in a pipeline, so on training rows only.

    Args:
        kind: `filter`, `l1` or `permutation`.
        keep: How many; None for all that count at all.
        classify: Whether the target is a class.
        seed: Of what is random.
    """

    def __init__(self, kind: str = "filter", keep: int | None = None, *, classify: bool = True, seed: int = 0) -> None:
        self.kind = kind
        self.keep = keep
        self.classify = classify
        self.seed = seed

    def fit(self, x: Any, y: Any) -> "KeptColumns":
        """Score the columns and keep the best; of equals, the first. At least one stays."""
        from kubeloop.learning.selecting import scores

        found, bar = scores(self.kind, np.asarray(x, dtype=np.float64), np.asarray(y), self.classify, self.seed)
        order = np.argsort(-found, kind="stable")
        wanted = self.keep if self.keep is not None else int((found > bar).sum())
        self.n_features_in_ = len(found)
        self.kept_ = np.sort(order[: max(1, wanted)]).astype(np.int64)
        return self

    def transform(self, x: Any) -> Floats:
        """(n, columns) to the kept ones."""
        return np.asarray(np.asarray(x, dtype=np.float64)[:, self.kept_])

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """The names of the kept ones."""
        return np.asarray(names, dtype=object)[self.kept_]
