"""What a moment of a cluster means: the rule that was measured, on documents as real controllers wrote them."""

import copy
from typing import Any

import pytest

from kubeloop.cluster import follow
from kubeloop.cluster.drift import drift
from kubeloop.cluster.follow import Seen, judge
from kubeloop.errors import PermanentError
from kubeloop.serving import on_cluster

REVISION = "0123456789ab"
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
SERVING = {
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "PredictorReady", "status": "True", "reason": "NewReplicaSetAvailable"},
        ]
    }
}


def deployment(revision=REVISION, **status):
    return {
        "metadata": {"name": "heart-predictor", "generation": 3},
        "spec": {"replicas": 1, "template": {"metadata": {"annotations": {"kubeloop-revision": revision}}}},
        "status": {"observedGeneration": 3, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1} | status,
    }


def pod(*, conditions=(), **container):
    status = {"name": "kserve-container", "image": "reg/p:1", "restartCount": 0, "state": {}} | container
    limits = {"resources": {"limits": {"memory": "1Gi"}}}
    return {
        "metadata": {"name": "heart-predictor-x"},
        "spec": {"containers": [{"name": "kserve-container", **limits}]},
        "status": {"conditions": list(conditions), "containerStatuses": [status]},
    }


def reason(seen, waited_s=1.0):
    verdict = judge(seen, REVISION, waited_s)
    assert not verdict.done
    return verdict.stopped and f"{verdict.stopped.what}: {verdict.stopped.detail}"


def test_done_when_deployment_pods_and_service_agree_on_our_revision():
    assert judge(Seen(SERVING, deployment()), REVISION, 1.0).done


@pytest.mark.parametrize(
    ("found", "waits_for"),
    [
        (None, "KServe's controller"),
        (deployment("another"), "KServe's controller"),
        (deployment(observedGeneration=2), "0 of 1|1 of 1 copies"),
        (deployment(updatedReplicas=0), "0 of 1 copies"),
        (deployment(replicas=2), "1 of 1 copies"),
        (deployment(availableReplicas=0), "0 answering"),
    ],
)
def test_ready_of_the_service_alone_is_not_enough(found, waits_for):
    verdict = judge(Seen(SERVING, found), REVISION, 1.0)
    assert (verdict.done, verdict.stopped) == (False, None)
    assert any(part in verdict.waits_for for part in waits_for.split("|"))


def test_one_copy_is_not_enough_where_two_were_asked_for():
    two = SERVING | {"spec": {"predictor": {"minReplicas": 2}}}
    verdict = judge(Seen(two, deployment()), REVISION, 1.0)
    assert (verdict.done, verdict.waits_for) == (False, "1 of 2 copies of the new revision, 1 answering")
    both = deployment(updatedReplicas=2, replicas=2, availableReplicas=2)
    both["spec"]["replicas"] = 2
    assert judge(Seen(two, both), REVISION, 1.0).done
    assert judge(Seen(two | told(), knative()), REVISION, 1.0).done  # Knative's own word counts there


def test_after_a_bad_update_the_service_says_ready_and_we_wait():
    bad = copy.deepcopy(SERVING)
    bad["status"]["conditions"][1]["reason"] = "MinimumReplicasAvailable"
    verdict = judge(Seen(bad, deployment()), REVISION, 1.0)
    assert (verdict.done, verdict.waits_for) == (False, "the InferenceService to say that it is ready")


def knative(name="heart-predictor-00002", revision=REVISION, **status):
    made = deployment(revision, **status)
    made["metadata"] |= {"name": f"{name}-deployment", "labels": {"serving.knative.dev/revision": name}}
    return made


def told(created="heart-predictor-00002", ready="heart-predictor-00002", share=100):
    traffic = [{"revisionName": ready, "percent": share, "latestRevision": True}]
    parts = {"predictor": {"latestCreatedRevision": created, "latestReadyRevision": ready, "traffic": traffic}}
    return {"status": {"components": parts, "conditions": [{"type": "Ready", "status": "True"}]}}


def test_on_knative_a_revision_serves_once_all_requests_go_to_it():
    assert judge(Seen(told(), knative()), REVISION, 1.0).done
    assert judge(Seen(told(), knative(updatedReplicas=0)), REVISION, 1.0).waits_for.startswith("0 of 1 copies")
    for service in (told(ready="heart-predictor-00001"), told(share=20)):
        verdict = judge(Seen(service, knative()), REVISION, 1.0)
        assert (verdict.done, verdict.waits_for) == (False, "Knative to send all requests to heart-predictor-00002")


def test_on_knative_the_deployment_of_the_newest_revision_counts_also_where_an_older_one_has_the_same_marker():
    old, new = knative("heart-predictor-00001"), knative("heart-predictor-00003", "another")

    class Listing:
        def get(self, kind, name):
            return told(created="heart-predictor-00003")

        def list(self, kind, *_, **__):
            return [old, new] if kind == follow.DEPLOYMENT else []

    cluster: Any = Listing()
    assert follow.look(cluster, "heart", REVISION).deployment is new


@pytest.mark.parametrize(
    ("sick", "waited_s", "expected"),
    [
        (pod(state={"waiting": {"reason": "ErrImagePull", "message": "no such host"}}), 1, "reg/p:1 .*: no such host"),
        (
            pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": "no s"}}),
            1,
            "cannot be made: no s",
        ),
        (pod(lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}}), 1, "more than its 1Gi of memory"),
        (pod(restartCount=2, lastState={"terminated": {"exitCode": 7}}), 1, "ended 2 times, .*exit code 7"),
        (pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1"}]), 6, "no node.*: 0/1"),
        (
            pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "1 Insufficient cpu"}]),
            55,
            "no node can take its pod: 1 Insufficient cpu",
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": UNBOUND}]),
            55,
            "no node can take its pod: .* unbound",
        ),
    ],
)
def test_a_pod_that_will_never_run_ends_the_wait(sick, waited_s, expected):
    import re

    assert re.search(expected, reason(Seen(SERVING, deployment(updatedReplicas=0), [sick]), waited_s))


@pytest.mark.parametrize(
    ("sick", "waited_s"),
    [
        (pod(restartCount=1, lastState={"terminated": {"exitCode": 7}}), 9),
        (pod(restartCount=3, ready=True, lastState={"terminated": {"exitCode": 7}}), 9),
        (pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1"}]), 1),
        (pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "1 Insufficient cpu"}]), 45),
        (pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": UNBOUND}]), 45),
    ],
)
def test_what_may_mend_itself_is_waited_for(sick, waited_s):
    assert reason(Seen(SERVING, deployment(updatedReplicas=0), [sick]), waited_s) is None


def test_a_volume_is_given_time_before_its_warning_counts():
    sick, warning = pod(), {"heart-predictor-x": 'FailedMount: configmap "kubeloop" not found'}
    seen = Seen(SERVING, deployment(updatedReplicas=0), [sick], warning)
    assert reason(seen, 10.0) is None
    assert reason(seen, 30.0) == 'a volume of its pod cannot be mounted: configmap "kubeloop" not found'


def test_quota_and_policy_stop_by_the_deployment_that_has_our_revision_alone():
    failure = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}]}
    assert reason(Seen(SERVING, deployment(updatedReplicas=0, **failure))) == (
        "its pods may not be created: exceeded quota: small"
    )
    assert reason(Seen(SERVING, deployment("before", **failure))) is None


def test_a_webhook_that_is_away_is_waited_for_and_named_after_a_minute():
    said = 'Internal error occurred: failed calling webhook "mutator.pod.katib.kubeflow.org": connection refused'
    failure = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": said}]}
    seen = Seen(SERVING, deployment(updatedReplicas=0, **failure))
    assert reason(seen, 59.0) is None
    assert reason(seen, 61.0) == f"a webhook that judges its pods has not answered for 60 s: {said}"


def test_a_controller_that_does_nothing_is_named_after_two_minutes():
    assert reason(Seen({"spec": {}}, None), 119.0) is None
    assert "KServe's controller has not acted" in reason(Seen({"spec": {}}, None), 121.0)


class Clock:
    """A clock that goes on when somebody waits."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_golden_requests_are_asked_again_until_the_services_proxies_know_the_new_pod(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(on_cluster, "time", clock)
    said = [PermanentError("503 came", "see"), PermanentError("the old pod's answer came", "see"), 0.0]

    def replay(*_):
        answer = said.pop(0)
        if isinstance(answer, PermanentError):
            raise answer
        return answer

    monkeypatch.setattr(on_cluster, "replay_over", replay)
    assert on_cluster.settled(None, "heart", None) == 0.0
    assert clock.now == 2.0
    said[:] = [PermanentError("still another answer", "see")] * 60
    with pytest.raises(PermanentError, match="still another answer"):
        on_cluster.settled(None, "heart", None)
    assert clock.now == pytest.approx(2.0 + on_cluster.SETTLE_S, abs=1.5)


def test_what_the_controller_did_not_do_while_the_server_was_away_is_not_held_against_it(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(follow, "time", clock)
    seen = [Seen(SERVING, None), Seen(SERVING, None), Seen(SERVING, deployment())]
    waits = [90.0, 90.0, 0.0]  # the first two looks wait for a server that restarts

    def look(*_):
        clock.sleep(waits.pop(0))
        return seen.pop(0)

    monkeypatch.setattr(follow, "look", look)
    assert follow.follow(None, "heart", REVISION, 600.0) == 182.0


def test_whoever_was_overtaken_or_deleted_is_told():
    other = {"spec": {"predictor": {"annotations": {"kubeloop-revision": "of-another"}}}}
    assert reason(Seen(other, deployment("of-another"))) == "another deployment has taken its place meanwhile: "
    assert reason(Seen({}, deployment())) == "somebody has deleted it meanwhile: "


def test_invalid_spec_counts_only_once_it_cannot_be_of_yesterday():
    told = {
        "status": {"modelStatus": {"transitionStatus": "InvalidSpec", "lastFailureInfo": {"message": "no runtime"}}}
    }
    assert reason(Seen(told, None), 5.0) is None
    assert reason(Seen(told, None), 11.0) == "KServe calls its specification invalid: no runtime"


def test_drift_names_field_manager_and_both_values():
    entry: dict[str, object] = {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:00Z"}
    entry["fieldsV1"] = {"f:spec": {"f:predictor": {"f:maxReplicas": {}, "f:nodeName": {}, "f:minReplicas": {}}}}
    own = {"manager": "kubeloop", "fieldsV1": {"f:spec": {"f:predictor": {"f:timeout": {}}}}}
    controller = {"manager": "manager", "fieldsV1": {"f:metadata": {"f:finalizers": {}}}}
    live = {
        "metadata": {"managedFields": [entry, own, controller], "finalizers": ["x"]},
        "spec": {"predictor": {"maxReplicas": 9, "minReplicas": 1, "nodeName": "n1", "timeout": 60}},
    }
    found = [str(change) for change in drift(live, {"spec": {"predictor": {"maxReplicas": 3, "minReplicas": 1}}})]
    assert found == [
        "spec.predictor.maxReplicas is 9, ours is 3 (kubectl-edit, 2026-01-01T00:00:00Z)",
        "spec.predictor.nodeName is 'n1' (kubectl-edit, 2026-01-01T00:00:00Z)",
    ]
