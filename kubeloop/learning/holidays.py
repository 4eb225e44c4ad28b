"""Public holidays as plain dates, from the library `holidays`; in training only, the model keeps the dates."""

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError

FIRST_YEAR, LAST_YEAR = 1990, 2060
"""Days outside are no holidays to a model: the library cannot know them, or nobody has such rows."""


def holiday_dates(country: str, subdivision: str | None) -> NDArray[np.int64]:
    """(k,) days since 1970-01-01, ascending.

    Args:
        country: ISO code, such as US.
        subdivision: State or province; None for what the whole country keeps.

    Raises:
        InputError: The library is missing, or knows no such place.
    """
    try:
        import holidays  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise InputError(
            "features.holidays needs the library `holidays`, which is not installed", "pip install 'kubeloop[core]'"
        ) from error
    try:
        found = holidays.country_holidays(country, subdiv=subdivision, years=range(FIRST_YEAR, LAST_YEAR + 1))
    except NotImplementedError as error:
        raise InputError(
            f"no holidays are known of {country}{f' {subdivision}' if subdivision else ''}",
            "correct features.holidays, or take it out",
        ) from error
    epoch = dt.date(1970, 1, 1)
    return np.array(sorted((day - epoch).days for day in found), dtype=np.int64)
