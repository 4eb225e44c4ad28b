"""A promotion is whole or has not happened; whoever judged against yesterday's champion is refused."""

import threading

import pytest

from kubeloop.errors import InputError, IntegrityError, KubeloopError, PermanentError, RefusedError
from kubeloop.ledger import entries
from kubeloop.packaging.store import fetch
from kubeloop.registry import mirror
from kubeloop.registry.champions import champion, move_champion
from kubeloop.rollout import steps
from kubeloop.rollout.promotion import promote, reconcile, rollback


def kinds(engine):
    return [entry.kind for entry in entries(engine, "default") if entry.kind != "registration"]


def test_the_first_champion(site, engine, digests, endpoint, whole, now):
    facts = promote(site, "heart", digests[0], "run", endpoint.apply, now)
    assert facts == {
        "name": "heart",
        "digest": digests[0],
        "version": 1,
        "address": f"{site.store}/packages/{digests[0]}",
        "previous": None,
        "revision": 1,
        "outcome": "promoted",
        "mirror": "done",
        "golden": 12,
        "max_difference": 0.0,
    }
    whole(digests[0])
    assert kinds(engine) == ["promotion.intent", "promotion"]


def test_again_changes_nothing(site, engine, digests, endpoint, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)

    def never(_folder):
        raise AssertionError("applied again")

    assert promote(site, "heart", digests[0], "run-2", never, now)["outcome"] == "already champion"
    assert kinds(engine) == ["promotion.intent", "promotion"]
    whole(digests[0])


def test_who_was_judged_against_another_champion_is_refused(site, engine, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    with pytest.raises(RefusedError, match="was judged against no champion, and the champion of heart is"):
        promote(site, "heart", digests[1], "run", endpoint.apply, now)
    judge(digests[1], digests[0])
    assert promote(site, "heart", digests[1], "run", endpoint.apply, now)["previous"] == digests[0]
    judge(digests[2], digests[0])
    with pytest.raises(RefusedError, match=f"judged against {digests[0][7:19]}"):
        promote(site, "heart", digests[2], "run", endpoint.apply, now)
    whole(digests[1])


def test_an_unregistered_or_missing_package_is_not_promoted(site, digests, endpoint, whole, now):
    with pytest.raises(InputError, match="registered version of heart"):
        promote(site, "heart", "sha256-" + "0" * 64, "run", endpoint.apply, now)
    folder = fetch(site, digests[0])
    (folder / "estimator.skops").write_bytes(b"swapped")
    with pytest.raises(IntegrityError, match=r"estimator\.skops"):
        promote(site, "heart", digests[0], "run", endpoint.apply, now)
    whole(None)
    assert endpoint.serves is None


def test_what_does_not_get_ready_leaves_the_champion(site, engine, digests, endpoint, judge, whole, now):
    endpoint.broken.add(digests[1])
    with pytest.raises(PermanentError, match="did not get ready"):
        promote(site, "heart", digests[1], "run", endpoint.apply, now)
    whole(None)
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    judge(digests[1], digests[0])
    with pytest.raises(PermanentError, match="did not get ready"):
        promote(site, "heart", digests[1], "run", endpoint.apply, now)
    whole(digests[0])
    assert kinds(engine)[-2:] == ["promotion.intent", "promotion.undone"]


def test_a_champion_that_moves_behind_our_back_wins(site, engine, digests, endpoint, whole, now):
    def slow(folder):
        if champion(engine, "default", "heart") is None:
            move_champion(engine, "default", "heart", digests[2], 0, now)
        return endpoint.apply(folder)

    with pytest.raises(RefusedError, match="somebody else moved it"):
        promote(site, "heart", digests[0], "run", slow, now)
    whole(digests[2])


def test_an_endpoint_that_cannot_be_brought_back_is_left_to_reconcile(site, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    judge(digests[1], digests[0])
    endpoint.broken.update(digests)
    with pytest.raises(PermanentError, match="did not get ready") as caught:
        promote(site, "heart", digests[1], "run", endpoint.apply, now)
    assert "`reconcile` will try again" in caught.value.context["undo"]
    with pytest.raises(PermanentError, match="did not get ready"):
        reconcile(site, "heart", endpoint.apply, now)
    endpoint.broken.clear()
    assert reconcile(site, "heart", endpoint.apply, now)["actions"] == [f"undid the promotion of {digests[1][7:19]}"]
    whole(digests[0])
    assert reconcile(site, "heart", endpoint.apply, now)["actions"] == []


def test_a_failing_mirror_stops_no_promotion(site, digests, endpoint, whole, now, monkeypatch):
    monkeypatch.setattr(mirror, "_told", lambda _tell: "failed: down")
    assert promote(site, "heart", digests[0], "run", endpoint.apply, now)["mirror"] == "failed: down"
    whole(digests[0])


def test_of_two_promoters_one_wins(site, engine, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    present = digests[0]
    for _ in range(15):
        rivals = [digest for digest in digests if digest != present]
        for digest in rivals:
            judge(digest, present)
        won: list[str] = []
        lost: list[type[KubeloopError]] = []
        start = threading.Barrier(2)

        def race(digest: str, won=won, lost=lost, start=start) -> None:
            start.wait()
            try:
                won.append(promote(site, "heart", digest, "run", endpoint.apply, now)["digest"])
            except KubeloopError as error:
                lost.append(type(error))

        threads = [threading.Thread(target=race, args=(digest,)) for digest in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert lost == [RefusedError]
        present = won[0]
        whole(present)
    assert champion(engine, "default", "heart").revision == 16


def test_two_promoters_without_a_common_lock_still_make_one_champion(
    site, engine, digests, endpoint, whole, now, monkeypatch
):
    """The lock of one machine does not reach another; the revision does."""
    from contextlib import nullcontext

    from kubeloop.rollout import promotion

    monkeypatch.setattr(promotion, "lock", lambda *_args: nullcontext())
    both_applied = threading.Barrier(2)
    outcomes: list[str] = []

    def apply(folder):
        found = endpoint.apply(folder)
        if champion(engine, "default", "heart") is None:
            both_applied.wait(timeout=180)
        return found

    def race(digest):
        try:
            promote(site, "heart", digest, "run", apply, now)
            outcomes.append("won")
        except RefusedError:
            outcomes.append("refused")

    threads = [threading.Thread(target=race, args=(digest,)) for digest in digests[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "won"]
    reconcile(site, "heart", endpoint.apply, now)
    whole(champion(engine, "default", "heart").digest)


def test_rollback_walks_back_through_the_champions(site, engine, digests, endpoint, judge, whole, now):
    with pytest.raises(InputError, match="a champion before the present one was expected"):
        rollback(site, "heart", endpoint.apply, now)
    before = None
    for digest in digests:
        judge(digest, before)
        promote(site, "heart", digest, "run", endpoint.apply, now)
        before = digest
    entries_before = len(kinds(engine))
    facts = rollback(site, "heart", endpoint.apply, now)
    assert (facts["outcome"], facts["digest"], facts["previous"]) == ("rolled back", digests[1], digests[2])
    whole(digests[1])
    assert kinds(engine)[entries_before:] == ["rollback"]
    assert rollback(site, "heart", endpoint.apply, now)["digest"] == digests[0]
    with pytest.raises(InputError, match="a champion before"):
        rollback(site, "heart", endpoint.apply, now)
    whole(digests[0])


def test_a_rollback_that_fails_is_undone(site, engine, digests, endpoint, judge, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    judge(digests[1], digests[0])
    promote(site, "heart", digests[1], "run", endpoint.apply, now)
    endpoint.broken.add(digests[0])
    with pytest.raises(PermanentError, match="did not get ready"):
        rollback(site, "heart", endpoint.apply, now)
    whole(digests[1])
    endpoint.broken.clear()
    assert rollback(site, "heart", endpoint.apply, now)["digest"] == digests[0]
    whole(digests[0])


def test_a_desired_record_that_drifted_is_brought_back(site, engine, digests, endpoint, whole, now):
    promote(site, "heart", digests[0], "run", endpoint.apply, now)
    steps.want(engine, "default", "heart", digests[1], 7, now)
    endpoint.file.write_text(digests[1])
    found = reconcile(site, "heart", endpoint.apply, now)
    assert found["actions"] == ["told the endpoint to serve the champion"]
    whole(digests[0])
