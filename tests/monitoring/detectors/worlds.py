"""Real rows for detectors: flights of 2013 with the weather of their hour, and digits."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from kubeloop.learning.inputs import InputColumn

EXAMPLES = Path(__file__).parents[3] / "examples"
NUMBERS = ("hour", "sched_arr_time", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
CATEGORIES = ("carrier", "origin", "dest")
FLIGHTS = (*NUMBERS, *CATEGORIES)


@cache
def flights() -> pd.DataFrame:
    """The flights example's 13 inputs, `day` (of 2013, from 1) and `late`; cancelled flights are left out."""
    table = pd.read_parquet(EXAMPLES / "flights" / "flights.parquet")
    weather = pd.read_parquet(EXAMPLES / "flights" / "weather.parquet")
    weather = weather[["origin", "time_hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]]
    weather = weather.drop_duplicates(["origin", "time_hour"])
    table = table[table["arr_delay"].notna()].merge(weather, on=["origin", "time_hour"], how="left")
    local = table["time_hour"].dt.tz_convert("America/New_York")
    table["day"] = local.dt.dayofyear.to_numpy()
    table["late"] = np.where(table["arr_delay"] > 15, "late", "in time").astype(object)
    table = table.sort_values("time_hour", kind="stable").reset_index(drop=True)
    return table[[*FLIGHTS, "day", "late"]].astype(dict.fromkeys(NUMBERS, "float64"))


def schema_of(table: pd.DataFrame, names: tuple[str, ...] = FLIGHTS) -> list[InputColumn]:
    """As training writes it."""
    found = []
    for name in names:
        category = table[name].dtype == object
        known = sorted(table[name].dropna().unique()) if category else None
        found.append(
            InputColumn(
                name=name,
                kind="category" if category else "number",
                categories=known,
                minimum=None,
                maximum=None,
                nullable=True,
            )
        )
    return found


@cache
def digits() -> tuple[pd.DataFrame, np.ndarray]:
    """1,797 digits of 8 x 8 pixels, and which digit each is."""
    from sklearn.datasets import load_digits

    found = load_digits()
    names = [f"pixel_{place:02}" for place in range(found.data.shape[1])]
    return pd.DataFrame(found.data, columns=names), found.target.astype(object)
