"""What is said of windows: real drift, novel digits, planted change, and windows that are not as they should be."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.errors import InputError, IntegrityError, PermanentError
from kubeloop.monitoring.detectors.answers import Answered
from kubeloop.monitoring.detectors.protocol import detector_of
from kubeloop.monitoring.reference.bins import MISSING, bin_numbers, count, encode_columns
from kubeloop.monitoring.reference.distances import distances
from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.reference.profile import profile_bytes, read_profile_bytes
from kubeloop.monitoring.reference.sites import sites_of
from kubeloop.monitoring.windows.confirm import Memory, false_alarm_rate
from kubeloop.monitoring.windows.judge import Judge
from tests.monitoring.detectors.measure import clopper_pearson, words
from tests.monitoring.detectors.worlds import digits, schema_of


def world(rng: np.random.Generator, size: int) -> pd.DataFrame:
    names = np.array(["a", "b", "c"], dtype=object)
    table = pd.DataFrame(rng.normal(size=(size, 3)), columns=["x", "y", "z"])
    table["letter"] = rng.choice(names, size, p=[0.6, 0.3, 0.1])
    table["pressure"] = np.where(rng.random(size) < 0.1, np.nan, rng.normal(1000, 10, size))
    return table


def answers(table: pd.DataFrame) -> Answered:
    sure = 1 / (1 + np.exp(-2 * table["x"].to_numpy()))
    return Answered(np.where(sure > 0.5, "yes", "no").astype(object), np.column_stack([1 - sure, sure]))


def truths(rng: np.random.Generator, answered: Answered) -> np.ndarray:
    return np.where(rng.random(len(answered.predictions)) < answered.probabilities[:, 1], "yes", "no").astype(object)


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    table = world(rng, 8000)
    schema = tuple(schema_of(table, tuple(table.columns)))
    training = Training(table, answers(table), truths(rng, answers(table)), bounds={"pressure": (800.0, 1200.0)})
    return Judge(fit_profile(Model("w", "binary", ("no", "yes"), "yes", schema), training, words(400), 0))


CHANGES = {
    "drift:y": lambda table: table.assign(y=table["y"] + 0.5),
    "drift:model.probability": lambda table: table,
    "missing:pressure": lambda table: table.assign(pressure=table["pressure"].where(table["pressure"] > 1000)),
    "unseen:letter": lambda table: table.assign(letter=["d"] * 40 + list(table["letter"][40:])),
    "outside:pressure": lambda table: table.assign(pressure=[1300.0] * 40 + list(table["pressure"][40:])),
    "mistyped": lambda table: table.assign(z=["high"] * 40 + list(table["z"][40:])),
    "outliers": lambda table: table.assign(z=[9.0] * 40 + list(table["z"][40:])),
    "duplicates": lambda table: pd.concat([table[:40]] * 10, ignore_index=True),
}


@pytest.mark.parametrize("engine", ["native", "alibi"])
@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_told_by_its_name(judge: Judge, name: str, engine: str) -> None:
    window = CHANGES[name](world(np.random.default_rng(5), 400))
    said = answers(world(np.random.default_rng(5), 400))
    if name == "drift:model.probability":
        said = dataclasses.replace(said, probabilities=said.probabilities**3)
    told = Judge(judge.profile, detector_of(engine)).inputs(window, said).document()["told"]
    assert name in told


def test_engines_measure_the_same_and_decide_the_same(judge: Judge) -> None:
    alibi = Judge(judge.profile, detector_of("alibi"))
    for seed in range(8):
        window = world(np.random.default_rng(seed), 400)
        window["y"] += 0.1 * seed
        one, other = (each.inputs(window, answers(window)) for each in (judge, alibi))
        for mine, theirs in zip(one.said, other.said, strict=True):
            assert mine.answer.statistic == pytest.approx(theirs.answer.statistic, abs=2e-3)
            assert mine.told == theirs.told
        assert one.unusual == other.unusual


def test_losses_tell_a_change_of_the_rule_that_inputs_do_not(judge: Judge) -> None:
    rng, inputs, labels = np.random.default_rng(1), 0, 0
    for _ in range(10):
        window = world(rng, 400)
        said = answers(window)
        turned = np.where(truths(rng, said) == "yes", "no", "yes").astype(object)
        inputs += judge.inputs(window, said).alarm
        labels += judge.labels(said, turned).alarm
    assert inputs <= 3
    assert labels == 10


def test_losses_of_the_same_rule_are_silent(judge: Judge) -> None:
    rng = np.random.default_rng(2)
    windows = [answers(world(rng, 400)) for _ in range(60)]
    assert clopper_pearson(sum(judge.labels(one, truths(rng, one)).alarm for one in windows), 60)[0] <= 0.05


def test_a_digit_that_training_never_saw_is_of_no_known_class() -> None:
    table, truth = digits()
    rng = np.random.default_rng(0)
    known = rng.permutation(np.flatnonzero(truth != 9))
    taught, fresh, nines = known[:1200], known[1200:], np.flatnonzero(truth == 9)
    schema = tuple(schema_of(table, tuple(table.columns)))
    training = Training(table.iloc[taught], truth=truth[taught])
    judge = Judge(fit_profile(Model("d", "multiclass", tuple(range(9)), None, schema), training, words(150), 0))
    seen, new = judge.inputs(table.iloc[fresh]), judge.inputs(table.iloc[nines])
    share = {"0 to 8": len(seen.unusual["novel"]) / len(fresh), "9": len(new.unusual["novel"]) / len(nines)}
    assert "novel" in [one.answer.signal.name for one in new.told], share
    assert "novel" not in [one.answer.signal.name for one in seen.told], share
    assert share["0 to 8"] <= 0.1, share
    assert share["9"] >= 5 * share["0 to 8"], share


@pytest.mark.parametrize("rows", [0, 1, 99])
def test_windows_too_small_are_not_judged_and_that_is_said(judge: Judge, rows: int) -> None:
    verdict = judge.inputs(world(np.random.default_rng(0), 400)[:rows])
    assert (verdict.judged, verdict.alarm) == (0, False)
    assert f"{rows} rows, at least 100 are needed: not judged" in verdict.notes


def test_empty_and_constant_columns_are_said(judge: Judge) -> None:
    verdict = judge.inputs(world(np.random.default_rng(0), 400).assign(x=1.0, y=np.nan))
    assert {"x lies in one and the same bin of training in every row", "y has no value in any row"} <= set(
        verdict.notes
    )
    assert {"drift:x", "missing:y"} <= set(verdict.document()["told"])
    assert next(one for one in verdict.document()["signals"] if one["name"] == "drift:y")["statistic"] is None


def test_arrow_and_pandas_windows_are_judged_alike(judge: Judge) -> None:
    window = world(np.random.default_rng(0), 400)
    table = pa.Table.from_pandas(window[window.columns[::-1]], preserve_index=False)
    assert judge.inputs(table).document() == judge.inputs(window).document()


def test_rows_of_another_model_are_refused(judge: Judge) -> None:
    with pytest.raises(InputError, match="column 'letter' was expected in the window, but it has x, y, z, pressure"):
        judge.inputs(world(np.random.default_rng(0), 400).drop(columns="letter"))


def test_rows_left_out_are_said(judge: Judge) -> None:
    assert "7 left out: bad_cell" in judge.inputs(world(np.random.default_rng(0), 400), None, {"bad_cell": 7}).notes


def test_a_profile_comes_back_the_same_and_holds_no_row(judge: Judge) -> None:
    content = profile_bytes(judge.profile)
    again = read_profile_bytes(content)
    assert profile_bytes(again) == content
    window = world(np.random.default_rng(4), 400)
    assert Judge(again).inputs(window, answers(window)).document() == judge.inputs(window, answers(window)).document()
    cells = world(np.random.default_rng(0), 8000)[["x", "y", "z"]].to_numpy().ravel()
    edges = np.concatenate([column.edges for column in again.inputs.columns if column.edges is not None])
    assert not np.isin(edges, cells).any()
    assert b"pickle" not in content


def test_a_damaged_profile_is_refused(judge: Judge) -> None:
    content = profile_bytes(judge.profile)
    with pytest.raises(IntegrityError, match="a reference profile was expected, but it is damaged"):
        read_profile_bytes(content[: len(content) // 2])


def test_too_few_rows_and_too_few_days_are_said() -> None:
    table = world(np.random.default_rng(0), 150)
    schema = tuple(schema_of(table, tuple(table.columns)))
    model = Model("w", "regression", (), None, schema)
    assert "150 training rows are too few" in " ".join(fit_profile(model, Training(table), words(400), 0).notes)
    rows = world(np.random.default_rng(0), 4000)
    days = ("day", np.arange(4000) // 400)
    notes = " ".join(fit_profile(model, Training(rows, dependence=days), words(400), 0).notes)
    assert "10 blocks (day) cannot show a rate of false alarms below 0.091, and 0.05 is asked" in notes


def test_memory_survives_a_restart() -> None:
    confirm = words(100).confirm
    memory = Memory(confirm)
    memory.see(["drift:x"])
    again = Memory.of(confirm, memory.document())
    assert again.see(["drift:x", "drift:y"]).fresh == ("drift:x",)
    assert again.see(["drift:x"]).fresh == ()
    assert false_alarm_rate(0.05, confirm) == pytest.approx(3 * 0.05**2 * 0.95 + 0.05**3)


def test_an_unknown_engine_and_one_that_is_not_installed_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="native or alibi was expected as engine, got 'torch'"):
        detector_of("torch")
    monkeypatch.setitem(__import__("sys").modules, "alibi_detect.cd", None)
    monkeypatch.delitem(__import__("sys").modules, "kubeloop.monitoring.detectors.alibi", raising=False)
    with pytest.raises(PermanentError, match="alibi-detect is not installed"):
        detector_of("alibi")


SHAPES = {
    "normal": lambda rng: rng.normal(size=9000),
    "far from zero": lambda rng: 1e9 + rng.normal(size=9000),
    "skewed": lambda rng: rng.lognormal(0, 1, 9000),
    "too uneven for a grid": lambda rng: rng.lognormal(0, 4, 9000),
    "whole numbers": lambda rng: rng.integers(0, 50, 9000).astype(float),
    "two values": lambda rng: rng.integers(0, 2, 9000).astype(float),
    "huge": lambda rng: rng.normal(size=9000) * 1e307,
    "denormal": lambda rng: rng.normal(size=9000) * 5e-321,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("error")
def test_a_bin_is_that_of_a_search_by_halves_for_any_value(shape):
    rng = np.random.default_rng(1)
    values = SHAPES[shape](rng)
    column = bin_numbers("x", values, "ks", (None, None))
    beside = [np.nextafter(column.edges, end) for end in (-np.inf, np.inf)]
    asked = np.concatenate([values, rng.normal(size=2000), column.edges, *beside, [np.inf, -np.inf, np.nan, 0.0, -0.0]])
    wanted = np.searchsorted(column.edges, asked)
    wanted[np.isnan(asked)] = MISSING
    np.testing.assert_array_equal(column.codes(asked), wanted)


def test_distances_of_bins_are_those_of_scipy_on_the_bins():
    from scipy.stats import cramervonmises_2samp, ks_2samp

    rng = np.random.default_rng(0)
    reference, window = rng.normal(size=4000), rng.normal(0.1, 1.2, 500)
    columns = [bin_numbers("x", reference, test, (None, None)) for test in ("ks", "cvm")]
    one, other = (count(encode_columns(columns, {"x": values})) for values in (window, reference))
    ks, cvm = distances(("ks", "cvm"), one, other)
    binned = [column.codes(window) for column in columns], [column.codes(reference) for column in columns]
    assert ks == pytest.approx(ks_2samp(binned[0][0], binned[1][0]).statistic, abs=1e-12)
    n, m = 500, 4000
    assert cvm == pytest.approx(
        np.sqrt(cramervonmises_2samp(binned[0][1], binned[1][1]).statistic * (n + m) / (n * m)), abs=1e-9
    )


def test_a_population_that_was_not_trained_on_is_told_at_once_and_one_that_was_is_named() -> None:
    rng = np.random.default_rng(3)
    table = world(rng, 3000)
    places = np.array(["north", "south", None], dtype=object)[np.arange(3000) % 3]
    table["x"] += 3.0 * (places == "south")
    schema = tuple(schema_of(table, tuple(table.columns)))
    training = Training(table, places=places)
    fitted = fit_profile(Model("w", "regression", (), None, schema), training, words(200), 0)
    judge = Judge(read_profile_bytes(profile_bytes(fitted)))
    known = world(rng, 200)
    strange = known.assign(x=known["x"] - 6.0, y=known["y"] - 6.0)
    said = {name: judge.inputs(rows) for name, rows in (("known", known), ("strange", strange))}
    assert said["known"].alarm, "training was a mixture"
    assert any("these rows are most like north (mean distance 0.0" in note for note in said["known"].notes)
    assert any("like no single place of training" in note for note in said["strange"].notes)
    assert not any("place" in note for note in judge.inputs(table[:200]).notes), "nothing is told, nothing is likened"
    assert sites_of(np.array(["one"] * 200 + ["few"] * 40, dtype=object), np.zeros((240, 1), np.int16)) is None
