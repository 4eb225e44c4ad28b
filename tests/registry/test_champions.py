"""One champion per name, moved by its revision alone."""

import contextlib
import threading

import pytest

from kubeloop.errors import InputError, RefusedError
from kubeloop.registry.champions import champion, move_champion
from kubeloop.registry.versions import register

pytestmark = pytest.mark.usefixtures("no_mirror")


@pytest.fixture
def digests(engine, site, packages, now):
    return [register(engine, site, package, "run", now).digest for package in packages]


def test_it_moves_revision_by_revision(engine, digests, now):
    assert champion(engine, "default", "heart") is None
    assert move_champion(engine, "default", "heart", digests[0], 0, now).revision == 1
    assert move_champion(engine, "default", "heart", digests[1], 1, now).revision == 2
    row = champion(engine, "default", "heart")
    assert (row.digest, row.revision, row.updated_at) == (digests[1], 2, now)
    assert champion(engine, "elsewhere", "heart") is None


@pytest.mark.parametrize("expected", [0, 2, -1])
def test_a_stale_revision_moves_nothing(engine, digests, now, expected):
    move_champion(engine, "default", "heart", digests[0], 0, now)
    with pytest.raises(RefusedError, match=f"expected at revision {expected}, but somebody else moved it"):
        move_champion(engine, "default", "heart", digests[1], expected, now)
    assert champion(engine, "default", "heart").digest == digests[0]


def test_only_a_registered_version_can_be_champion(engine, digests, now):
    with pytest.raises(InputError, match="registered version of heart"):
        move_champion(engine, "default", "heart", "sha256-" + "0" * 64, 0, now)
    with pytest.raises(InputError, match="registered version of other"):
        move_champion(engine, "default", "other", digests[0], 0, now)


def test_of_eight_movers_one_wins(engine, digests, now):
    for revision in range(5):
        won: list[str] = []
        start = threading.Barrier(8)

        def move(index: int, at: int = revision, won: list[str] = won, start: threading.Barrier = start) -> None:
            start.wait()
            with contextlib.suppress(RefusedError):
                won.append(move_champion(engine, "default", "heart", digests[index % 3], at, now).digest)

        threads = [threading.Thread(target=move, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [champion(engine, "default", "heart").digest] == won
