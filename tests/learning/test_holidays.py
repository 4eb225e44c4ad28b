import numpy as np
import pandas as pd
import pytest

from kubeloop.errors import InputError
from kubeloop.learning.estimator_file import read_estimator
from kubeloop.learning.holidays import holiday_dates
from kubeloop.learning.training import train


def days(*texts):
    return [int(np.datetime64(text, "D").astype(int)) for text in texts]


def test_the_dates_are_plain_and_known():
    found = holiday_dates("US", None)
    assert found.dtype == np.int64
    assert (np.diff(found) > 0).all()
    assert set(days("2013-07-04", "2013-12-25", "2024-11-28")) <= set(found.tolist())
    assert not set(days("2013-07-05", "2024-11-27")) & set(found.tolist())
    assert len(holiday_dates("DE", "BY")) > len(holiday_dates("DE", None))


def test_an_unknown_place_is_said():
    with pytest.raises(InputError, match="no holidays are known of ZZ"):
        holiday_dates("ZZ", None)


def test_a_model_keeps_the_dates_and_serves_without_the_library(make_section, make_rows, table, tmp_path):
    rows = make_rows(120)
    rows["seen"] = pd.date_range("2013-06-01", periods=120, freq="D", tz="UTC")
    features = {"use": ["age"], "holidays": {"column": "seen", "country": "US"}}
    facts = train(make_section(features=features), {}, table(rows), tmp_path / "model")
    assert facts["features"] == ["age", "seen"]
    estimator = read_estimator(tmp_path / "model" / "estimator.skops")
    frame = pd.DataFrame({"age": [50.0, 50.0], "seen": [1372896000.0, 1372982400.0]})  # 2013-07-04 and 05
    assert estimator[:-1].transform(frame)[:, -1].tolist() == [1.0, 0.0]
