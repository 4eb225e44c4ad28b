import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.contract.features import Window
from kubeloop.data.windows import window_columns
from kubeloop.errors import InputError


def rows(n=400, seed=1):
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2024-01-01", tz="UTC")
    frame = pd.DataFrame(
        {
            "when": start + pd.to_timedelta(rng.integers(0, 24 * 20, n), unit="h"),  # many rows of one hour
            "who": rng.choice(["a", "b", "c", None], n),
            "size": rng.normal(size=n),
        }
    )
    frame.loc[::13, "size"] = np.nan
    frame.loc[5, "when"] = pd.NaT
    return frame


WINDOWS = (
    Window(name="seen", function="count", by=("who",), over="3d"),
    Window(name="mean_size", function="mean", column="size", by=("who",), over="36h"),
    Window(name="largest", function="maximum", column="size", over="1d"),
)


def expected(frame, window, row):
    """By the definition, one row at a time."""
    now, who = frame["when"][row], frame["who"][row]
    if pd.isna(now) or ("who" in window.by and who is None):
        return np.nan
    over = {"3d": 72, "36h": 36, "1d": 24}[window.over]
    past = frame[(frame["when"] < now) & (frame["when"] >= now - dt.timedelta(hours=over))]
    past = past[past["who"] == who] if window.by else past
    if window.column is None:
        return float(len(past))
    return {"mean": past["size"].mean, "maximum": past["size"].max}[window.function]()


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_window_holds_the_strict_past_alone(tmp_path, shuffle):
    frame = rows()
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True) if shuffle else frame
    found = window_columns(pa.Table.from_pandas(frame), WINDOWS, "when", tmp_path / "spill").to_pandas()
    for window in WINDOWS:
        wanted = np.array([expected(frame, window, row) for row in range(len(frame))])
        np.testing.assert_allclose(found[window.name].to_numpy(float), wanted, rtol=1e-9)
    assert list(found) == [window.name for window in WINDOWS]
    assert not list(tmp_path.iterdir())


def test_the_future_and_the_own_row_change_nothing(tmp_path):
    frame = rows()
    base = window_columns(pa.Table.from_pandas(frame), WINDOWS, "when", tmp_path / "spill").to_pandas()
    cut = frame["when"].sort_values().iloc[200]
    planted = frame.assign(size=frame["size"].where(frame["when"] < cut, 1e9))
    found = window_columns(pa.Table.from_pandas(planted), WINDOWS, "when", tmp_path / "spill").to_pandas()
    before = frame["when"] <= cut
    pd.testing.assert_frame_equal(found[before][["mean_size", "largest"]], base[before][["mean_size", "largest"]])


def test_a_missing_column_is_said(tmp_path):
    table = pa.Table.from_pandas(rows(5))
    with pytest.raises(InputError, match="a window needs the column 'who'"):
        window_columns(table.drop(["who"]), WINDOWS, "when", tmp_path / "spill")
