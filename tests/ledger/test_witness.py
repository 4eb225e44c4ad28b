"""A chain that was cut off or written anew does not fit what was kept elsewhere."""

import datetime as dt

import pytest
import sqlalchemy as sa

from kubeloop.errors import InputError, IntegrityError
from kubeloop.ledger import append, entries, fits_marks, followed_by, mark_head, verify
from kubeloop.ledger.witness import marks
from kubeloop.site import laptop
from kubeloop.store import open_engine

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def site(tmp_path):
    return laptop(tmp_path)


@pytest.fixture
def engine(site):
    """Five entries, of which the second and the fourth are marked."""
    engine = open_engine(site)
    for number in range(1, 6):
        append(engine, "default", "gate", {"number": number}, NOW)
        if number in (2, 4):
            assert mark_head(engine, site) == "done"
    return engine


def cut(engine, after):
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM ledger WHERE seq > :after"), {"after": after})


def test_a_whole_chain_fits_its_marks(engine, site):
    assert marks(site) == [(entry.seq, entry.digest) for entry in entries(engine, "default") if entry.seq in (2, 4)]
    assert fits_marks(engine, site) == 4
    assert mark_head(engine, site) == mark_head(engine, site) == "done"
    assert fits_marks(engine, site) == 5


def test_an_empty_chain_needs_no_mark_and_leaves_none(site):
    assert mark_head(open_engine(site), site) == "done"
    assert marks(site) == []
    assert fits_marks(open_engine(site), site) == 0


@pytest.mark.parametrize("after", [3, 2, 0])
def test_a_chain_whose_end_was_cut_off_is_whole_and_does_not_fit(engine, site, after):
    cut(engine, after)
    assert verify(engine, "default") == after
    with pytest.raises(IntegrityError, match=f"default ends at entry {after}, but the store's mark says that it had"):
        fits_marks(engine, site)


def test_what_came_after_the_newest_mark_can_go_unseen(engine, site):
    """What the marks do not prove; the head that somebody else keeps does."""
    head = entries(engine, "default")[-1].digest
    cut(engine, 4)
    assert fits_marks(engine, site) == 4
    with pytest.raises(IntegrityError, match=f"should hold the entry {head}, but none of its 4 entries is that one"):
        followed_by(engine, "default", head)


def test_entries_that_replace_those_that_were_cut_off_do_not_fit(engine, site):
    cut(engine, 3)
    append(engine, "default", "gate", {"number": "another"}, NOW)
    assert verify(engine, "default") == 4
    with pytest.raises(IntegrityError, match="written anew: its entry 4 is not the one of the store's mark"):
        fits_marks(engine, site)


def test_a_head_that_was_kept_is_found_with_what_came_after_it(engine):
    chain = entries(engine, "default")
    assert followed_by(engine, "default", chain[-1].digest) == 0
    assert followed_by(engine, "default", chain[1].digest[7:19]) == 3
    with pytest.raises(InputError, match="at least 12 of its hexadecimal digits, got 'head'"):
        followed_by(engine, "default", "head")


def test_namespaces_have_marks_of_their_own(engine, site):
    other = site.model_copy(update={"namespace": "team-b"})
    append(engine, "team-b", "gate", {}, NOW)
    assert mark_head(engine, other) == "done"
    assert [seq for seq, _ in marks(other)] == [1]
    assert fits_marks(engine, site) == 4


def test_a_store_that_fails_stops_nothing_and_is_told(engine, site, tmp_path):
    (tmp_path / "a file").touch()
    broken = site.model_copy(update={"store": f"file://{tmp_path}/a file/store"})
    assert mark_head(engine, broken) == "failed: NotADirectoryError"
    unknown = site.model_copy(update={"store": "nowhere://bucket"})
    assert mark_head(engine, unknown).startswith("failed: addresses of nowhere:// cannot be read")
