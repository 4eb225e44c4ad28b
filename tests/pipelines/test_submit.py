"""Submit, schedule and wait, against a KFP server that refuses unknown fields and plays faults."""

import datetime as dt
import json

import pytest

from kubeloop.errors import InputError, PermanentError, RefusedError, TransientError
from kubeloop.pipelines import submit
from kubeloop.pipelines.compile import compiled_path
from kubeloop.site.load import named_site
from kubeloop.tracking.record import TaskRecord, write_task
from tests.pipelines.kfp_stub import kfp_server, unknown_fields

LOCK = {"ghcr.io/kubeloop/pipeline:0.1.0": "ghcr.io/kubeloop/pipeline:0.1.0@sha256:" + "a" * 64}


@pytest.fixture
def server():
    with kfp_server() as found:
        yield found


@pytest.fixture
def client(server):
    return submit.connect(server.url)


@pytest.fixture(scope="module")
def pipeline():
    return submit.prepare(compiled_path("train"), LOCK)


@pytest.fixture(scope="module")
def arguments(pipeline):
    known = pipeline.documents[0]["root"]["inputDefinitions"]["parameters"]
    return {name: "{}" for name, told in known.items() if "defaultValue" not in told}


def tasks(documents):
    for component in (documents[0]["root"], *documents[0]["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


def test_images_run_by_digest_and_equal_pipelines_have_equal_versions(pipeline):
    executors = pipeline.documents[0]["deploymentSpec"]["executors"].values()
    assert {item["container"]["image"] for item in executors} == set(LOCK.values())
    assert submit.prepare(compiled_path("train"), LOCK).version == pipeline.version
    other = submit.prepare(compiled_path("train"), dict.fromkeys(LOCK, "x@sha256:" + "b" * 64))
    assert other.version != pipeline.version


@pytest.mark.parametrize(
    ("lock", "problem"),
    [({}, "should be in the lock, and is not"), ({next(iter(LOCK)): "x:latest"}, "should run by digest, got x:latest")],
)
def test_an_image_that_could_move_is_refused(lock, problem):
    with pytest.raises(InputError, match=problem):
        submit.prepare(compiled_path("train"), lock)


def test_the_cache_goes_off_in_every_task_also_below_conditions(pipeline):
    bare = submit.prepare(compiled_path("train"), LOCK, caching=False)
    assert any(task.get("cachingOptions", {}).get("enableCache") for task in tasks(pipeline.documents))
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks(bare.documents))


def test_a_run_is_sent_whole_and_the_version_uploaded_once(server, client, pipeline, arguments, tmp_path):
    first = submit.submit(client, pipeline, arguments, "heart", "one", tmp_path)
    second = submit.submit(client, pipeline, arguments, "heart", "two", tmp_path)
    assert first != second
    versions = server.pipelines["kubeloop-train"]
    assert [item["display_name"] for item in versions] == ["kubeloop-train", pipeline.version]
    assert versions[1]["documents"] == list(pipeline.documents)
    assert [item["pipeline_version_reference"]["pipeline_version_id"] for item in server.kept["runs"]] == [
        "kubeloop-train/1"
    ] * 2
    assert server.kept["runs"][0]["runtime_config"]["parameters"] == arguments
    assert len(server.kept["experiments"]) == 1


def test_arguments_are_held_against_the_pipeline_before_anything_is_sent(server, client, pipeline, arguments, tmp_path):
    missing = dict(list(arguments.items())[1:])
    for wrong, problem in [
        (missing, "missing: "),
        (arguments | {"colour": "red"}, "unknown: colour"),
        (arguments | {"cpu": 2}, "cpu should be STRING"),
    ]:
        with pytest.raises(InputError, match=problem):
            submit.submit(client, pipeline, wrong, "heart", "one", tmp_path)
    assert (server.pipelines, server.kept["runs"]) == ({}, [])


def test_a_schedule_of_a_name_is_there_once(server, client, pipeline, arguments, tmp_path):
    def nightly(cron):
        return submit.schedule(client, pipeline, arguments, "heart", "nightly", cron, tmp_path)

    made, word = nightly("0 0 3 * * *")
    assert word == "made"
    assert nightly("0 0 3 * * *") == (made, "unchanged")
    again, word = nightly("0 0 4 * * *")
    assert (word, len(server.kept["recurringruns"])) == ("replaced", 1)
    assert server.kept["recurringruns"][0]["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * *"}}
    assert again == server.kept["recurringruns"][0]["recurring_run_id"]


@pytest.mark.parametrize(
    ("last", "ended"),
    [
        ({"state": "SUCCEEDED"}, "done"),
        ({"state": "FAILED", "state_history": [{"state": "RUNNING"}, {"state": "FAILED"}]}, "failed"),
        ({"state": "FAILED", "state_history": [{"state": "CANCELING"}, {"state": "FAILED"}]}, "cancelled"),
    ],
)
def test_how_a_run_ended_is_told_apart(server, client, last, ended):
    server.states = [{"state": "PENDING"}, {"state": "RUNNING"}, last]
    assert submit.wait(client, "r", 30, poll_s=0.01) == ended


def test_a_pod_that_cannot_start_ends_the_wait_with_its_name(server, client):
    server.states = [{"state": "RUNNING"}]
    with pytest.raises(PermanentError, match="the run r cannot go on: train: no node can take its pod"):
        submit.wait(client, "r", 30, stuck=lambda: "train: no node can take its pod", poll_s=0.01)


def test_a_run_that_does_not_end_is_given_back(server, client):
    server.states = [{"state": "RUNNING"}]
    with pytest.raises(TransientError, match="should end within 0 s, and is RUNNING still") as caught:
        submit.wait(client, "r", 0.0, poll_s=0.01)
    assert "kubeloop wait r" in caught.value.fix


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ((400, "unknown template format"), PermanentError, "refused with 400: unknown template format"),
        ((503, "no healthy upstream"), TransientError, "failed with 503: no healthy upstream"),
    ],
)
def test_the_servers_own_words_reach_the_person(server, client, pipeline, arguments, tmp_path, fault, error, said):
    server.faults["pipelines/upload"] = fault
    with pytest.raises(error, match=said):
        submit.submit(client, pipeline, arguments, "heart", "one", tmp_path)


def test_the_stub_refuses_what_the_api_does_not_know():
    import kfp_server_api

    run = {"display_name": "x", "runtime_config": {"parameters": {}, "colour": 1}, "size": 2}
    assert unknown_fields(run, kfp_server_api.V2beta1Run) == ["runtime_config.colour", "size"]


def test_a_host_that_is_no_kfp_is_said():
    with pytest.raises(InputError, match=r"a KFP server was expected at http://127\.0\.0\.1:9"):
        submit.connect("http://127.0.0.1:9")


def write_site(place):
    """The Site `cluster` of the home there."""
    folder = place / "home" / "sites" / "cluster"
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(f"{{store: 'file://{place}/store', sql: 'sqlite://', tracking: 'sqlite://'}}")


def test_the_commands_submit_and_schedule(server, tmp_path, root, capsys):
    from kubeloop.cli.main import main

    lock = tmp_path / "images.lock"
    lock.write_text("\n".join(f"{name}: {image}" for name, image in LOCK.items()))
    common = [str(root / "examples/heart/loop.yaml"), "--host", server.url, "--images", str(lock)]
    common += ["--home", str(tmp_path / "home")]
    with pytest.raises(SystemExit) as ended:
        main(["submit", *common])
    assert (ended.value.code, "the Site cluster was expected at" in capsys.readouterr().err) == (2, True)
    write_site(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["submit", *common])
    assert (ended.value.code, "next       kubeloop wait runs-0" in capsys.readouterr().out) == (0, True)
    (sent,) = (tmp_path / "store" / "inputs").glob("sha256-*/*")
    assert sent.read_bytes() == (root / "examples/heart/heart.csv").read_bytes()
    with pytest.raises(SystemExit):
        main(["submit", *common, "--json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["run"].startswith("runs-")  # and nothing of what kfp's client prints
    assert "details: " in printed.err
    with pytest.raises(SystemExit):
        main(["schedule", *common, "--cron", "0 0 3 * * *"])
    assert "made       scheduled" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["schedule", *common, "--cron", "0 3 * * *"])
    assert (ended.value.code, "six fields" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    ("last", "error", "code", "said"),
    [
        ({"state": "SUCCEEDED"}, None, 0, None),
        (
            {"state": "FAILED"},
            RefusedError("the model gate said fail", "mend the model"),
            3,
            "the model gate said fail",
        ),
        ({"state": "FAILED"}, None, 1, "the run r failed, and no task said why"),
        ({"state": "FAILED", "state_history": [{"state": "CANCELING"}]}, None, 1, "the run r was cancelled"),
    ],
)
def test_what_became_of_a_run_is_one_document(server, tmp_path, capsys, last, error, code, said):
    from kubeloop.cli.main import main

    server.states = [last]
    write_site(tmp_path)
    if error is not None:
        now = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
        told = TaskRecord(task="evaluate", status="refused", started=now, finished=now, error=error.to_dict())
        write_task(named_site(tmp_path / "home", "cluster"), "r", told)
    with pytest.raises(SystemExit) as ended:
        main(["wait", "r", "--host", server.url, "--home", str(tmp_path / "home"), "--site", "cluster", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (ended.value.code, document["error"] and document["error"]["problem"]) == (code, said)


def test_a_file_is_sent_once_and_named_by_its_address(tmp_path, root):
    from kubeloop.contract.load import read_contract
    from kubeloop.pipelines.inputs import has_files, with_sent_files
    from kubeloop.site.model import Site

    site = Site(store=f"file://{tmp_path}/store", sql="sqlite://", tracking="sqlite://")
    contract = read_contract(root / "examples/heart/loop.yaml")
    made = with_sent_files(contract, root / "examples/heart", site)
    (source,) = made.data.sources
    (sent,) = (tmp_path / "store" / "inputs").glob("sha256-*/*")
    assert source.path == f"file://{sent}"
    before = sent.stat().st_mtime_ns
    assert with_sent_files(contract, root / "examples/heart", site) == made
    assert sent.stat().st_mtime_ns == before
    elsewhere = source.model_copy(update={"path": "s3://bucket/heart.csv"})
    data = contract.data.model_copy(update={"sources": (elsewhere,)})
    assert not has_files(contract.model_copy(update={"data": data}))
    with pytest.raises(InputError, match=r"the file heart\.csv of source 'heart' was expected in .*, there is none"):
        with_sent_files(contract, tmp_path, site)
