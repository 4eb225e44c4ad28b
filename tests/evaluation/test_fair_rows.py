"""Champion and challenger meet only on rows that neither has seen, whatever the kind of their splits."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.contract.sections import SplitSection
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target
from kubeloop.data.splitting import split
from kubeloop.data.tables import read_arrow, write_table
from kubeloop.data.training_rows import training_rows
from kubeloop.evaluation.fair_rows import unseen

N = 4000


def table(first="2024-01-01", days=100, seed=0):
    rng = np.random.default_rng(seed)
    start = pd.Timestamp(first, tz="UTC")
    when = start + pd.to_timedelta(np.sort(rng.integers(0, days * 24, N)), unit="h")
    offset = int((start - pd.Timestamp("2023-01-01", tz="UTC")).days) * 100_000
    return pd.DataFrame(
        {
            "key": np.arange(N) + offset,
            "when": when.as_unit("us"),
            "town": rng.choice([f"town{i}" for i in range(60)], N),
            "part": np.where(rng.random(N) < 0.2, "test", "rest"),
            "x": rng.normal(size=N),
            "y": rng.integers(0, 2, N),
        }
    )


def parted(frame, folder, **words):
    """Split a table: the test rows' folder, their keys, the training rows' description, the development rows' keys."""
    section = SplitSection(
        name="flights",
        id=("key",),
        time="when",
        group=None,
        target=Target(column="y", task="binary"),
        split=Split(folds=2, **words),
        seed=7,
    )
    write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "table")
    split(section, folder / "table", folder / "development", folder / "test")
    keys = {side: set(read_arrow(folder / side).column("key").to_pylist()) for side in ("development", "test")}
    return folder / "test", training_rows(folder / "development"), keys


def kept(mask, test):
    return set(np.array(read_arrow(test).column("key").to_pylist())[mask].tolist())


WORDS = {
    "hash": {},
    "time": {"by": "time"},
    "group": {"by": "group", "column": "town"},
    "stratified": {"by": "stratified"},
    "column": {"by": "column", "column": "part"},
}


@pytest.mark.parametrize("champion", WORDS)
@pytest.mark.parametrize("challenger", WORDS)
def test_no_row_that_the_champion_was_trained_on_is_used(champion, challenger, tmp_path):
    """What is compared lies in the test rows of the challenger and out of the training rows of the champion."""
    frame = table()
    _, theirs, seen = parted(frame, tmp_path / "champion", **WORDS[champion])
    test, ours, _ = parted(frame, tmp_path / "challenger", **WORDS[challenger])
    mask, why = unseen(ours, theirs, test, read_arrow(test).num_rows)
    assert why == ""
    used = kept(mask, test)
    assert used
    assert not used & seen["development"]
    if champion == challenger:
        # The smallest threshold of the strata is the one that is sure.
        assert mask.all() or champion == "stratified"


def test_a_retraining_over_the_old_test_period_is_not_compared_on_it(tmp_path):
    """The champion was retrained later, over the very days that the challenger is tested on."""
    old, new = table("2024-01-01"), table("2024-03-01", seed=1)
    test, ours, _ = parted(old, tmp_path / "challenger", by="time")
    _, theirs, _ = parted(pd.concat([old, new], ignore_index=True), tmp_path / "champion", by="time")
    mask, why = unseen(ours, theirs, test, read_arrow(test).num_rows)
    assert mask is None
    assert why == "the champion may have been trained on every one of the test rows"


def test_a_challenger_retrained_on_later_days_is_compared_on_days_later_than_both(tmp_path):
    old, new = table("2024-01-01"), table("2024-03-01", seed=1)
    _, theirs, _ = parted(old, tmp_path / "champion", by="time")
    test, ours, _ = parted(pd.concat([old, new], ignore_index=True), tmp_path / "challenger", by="time")
    mask, _ = unseen(ours, theirs, test, read_arrow(test).num_rows)
    assert mask.all()
    assert str(theirs["until"]) < str(ours["until"])


def test_days_that_overlap_in_part_are_used_in_part(tmp_path):
    frame = table()
    _, theirs, seen = parted(frame, tmp_path / "champion", by="time", test=0.1)
    test, ours, _ = parted(frame, tmp_path / "challenger", by="time", test=0.4)
    mask, _ = unseen(ours, theirs, test, read_arrow(test).num_rows)
    assert 0 < mask.sum() < len(mask)
    assert not kept(mask, test) & seen["development"]


def test_rows_whose_place_cannot_be_told_are_not_used(tmp_path):
    frame = table()
    _, theirs, _ = parted(frame, tmp_path / "champion", by="time")
    fresh = table("2025-01-01").assign(when=lambda rows: rows["when"].where(rows["key"] % 2 == 0))
    write_table(pa.Table.from_pandas(fresh, preserve_index=False), tmp_path / "test")
    mask, _ = unseen({"kind": "imported"}, theirs, tmp_path / "test", N)
    assert mask.tolist() == (fresh["key"] % 2 == 0).tolist()


def test_rows_that_other_pseudonyms_place_are_not_used(tmp_path):
    rows = pa.Table.from_pandas(table(), preserve_index=False)
    write_table(rows, tmp_path / "test", {"key": "pseudonym-0a1b2c3d"})
    theirs = {"kind": "hash", "seed": 0, "key": ["key"], "test_share": 0.2, "masked": {"key": "pseudonym-0a1b2c3d"}}
    assert unseen(theirs, theirs, tmp_path / "test", N)[0].all()
    for masked in ({"masked": {"key": "pseudonym-ffffffff"}}, {"masked": None}):
        mask, why = unseen(theirs, theirs | masked, tmp_path / "test", N)
        assert mask is None
        assert why == "the champion's rows were placed by personal columns that had other pseudonyms, or were in clear"
