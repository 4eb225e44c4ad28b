"""The compiled train pipeline as a contract: its graph, its caching, who sees test rows, and no address in it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kubeloop import __version__
from kubeloop.pipelines.compile import compile_pipeline, compiled_path, stale
from kubeloop.reports.words import TRAIN

WORLD = {"ingest", "validate", "evaluate", "register", "attach_monitor", "deploy", "refused", "clean_up"}


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(compiled_path("train").read_text(encoding="ascii")))


@pytest.fixture(scope="module")
def spec(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0]


def dags(spec: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    yield spec["root"]["dag"], spec["root"].get("inputDefinitions", {})
    for component in spec["components"].values():
        if "dag" in component:
            yield component["dag"], component.get("inputDefinitions", {})


def tasks(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for dag, _ in dags(spec):
        for name, task in dag["tasks"].items():
            if not name.startswith(("condition", "exit-handler")):
                yield re.sub(r"-\d+$", "", name).replace("-", "_"), task


def test_golden_file_is_what_the_sources_compile_to() -> None:
    assert stale() == []


def test_a_second_compilation_in_one_process_gives_the_same_bytes(tmp_path) -> None:
    compile_pipeline("train", tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == compiled_path("train").read_bytes()


def test_graph_holds_the_loop_and_four_refusals(spec: dict[str, Any]) -> None:
    names = [name for name, _ in tasks(spec)]
    assert sorted(names) == sorted([*TRAIN, *["refused"] * 4, "clean_up"])


def test_only_evaluate_takes_test_rows(spec: dict[str, Any]) -> None:
    def test_rows(channel: dict[str, Any]) -> bool:
        made = channel.get("taskOutputArtifact", {})
        handed = channel.get("componentInputArtifact", "")
        return (made.get("producerTask"), made.get("outputArtifactKey")) == ("split", "test") or handed.endswith(
            "split-test"
        )

    takers = {
        name
        for name, task in tasks(spec)
        for channel in task.get("inputs", {}).get("artifacts", {}).values()
        if test_rows(channel)
    }
    assert takers == {"evaluate"}


def test_what_reads_or_changes_the_world_is_never_cached(spec: dict[str, Any]) -> None:
    cached = {name: task["cachingOptions"].get("enableCache", False) for name, task in tasks(spec)}
    assert {name for name, on in cached.items() if not on} == WORLD
    assert {name for name, on in cached.items() if on} == set(TRAIN) - WORLD


def test_pure_tasks_on_data_take_its_digest_as_a_parameter(spec: dict[str, Any]) -> None:
    for name, task in tasks(spec):
        if name in ("validate", "split"):
            assert "snapshot" in task["inputs"]["parameters"], name


def test_every_input_that_a_task_asks_its_parent_for_is_declared_there(spec: dict[str, Any]) -> None:
    for dag, declared in dags(spec):
        for name, task in dag["tasks"].items():
            for kind, key in (("parameters", "componentInputParameter"), ("artifacts", "componentInputArtifact")):
                asked = {channel[key] for channel in task.get("inputs", {}).get(kind, {}).values() if key in channel}
                missing = asked - set(declared.get(kind, {}))
                assert not missing, f"{name} asks for {missing}, which its parent does not have"


def test_gates_branch_on_all_three_verdicts(spec: dict[str, Any]) -> None:
    conditions = [
        task["triggerPolicy"]["condition"]
        for dag, _ in dags(spec)
        for task in dag["tasks"].values()
        if "condition" in task.get("triggerPolicy", {})
    ]
    assert len(conditions) == 6
    for gate in ("validate", "evaluate"):
        mine = [text for text in conditions if f"pipelinechannel--{gate}-Output" in text]
        assert len(mine) == 3
        assert any(text.endswith("== 'pass'") for text in mine)
        assert all("'pass'" in text for text in mine), "an Elif or Else that forgets the If before it"


def test_images_are_literal_tagged_with_the_version_and_compiled_version_travels(spec: dict[str, Any]) -> None:
    for name, executor in spec["deploymentSpec"]["executors"].items():
        container = executor["container"]
        assert container["image"].endswith(f":{__version__}"), name
        assert {"name": "KUBELOOP_COMPILED", "value": __version__} in container["env"], name


def test_no_task_is_retried_blindly_and_each_has_a_timeout(documents: list[dict[str, Any]]) -> None:
    assert all("retryPolicy" not in task for _, task in tasks(documents[0]))
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(documents[0]["deploymentSpec"]["executors"])
    for executor in executors.values():
        assert int(executor["activeDeadlineSeconds"]) > 0


def test_the_site_is_a_variable_and_its_secrets_are_files_both_optional_and_of_one_name(
    documents: list[dict[str, Any]],
) -> None:
    for executor in documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        (site,), (secret,) = executor["configMapAsEnv"], executor["secretAsVolume"]
        assert site["optional"]
        assert secret["optional"]
        assert site["keyToEnv"] == [{"configMapKey": "site.yaml", "envVar": "KUBELOOP_SITE_YAML"}]
        assert secret["mountPath"] == "/etc/kubeloop/secret"
        assert site["configMapNameParameter"] == secret["secretNameParameter"]
        # Both as volumes would be two of one name: KFP calls a volume by the name of what it holds.
        assert "configMapAsVolume" not in executor


def test_yaml_holds_no_address_and_nothing_that_argo_would_expand_in_code() -> None:
    text = compiled_path("train").read_text(encoding="ascii")
    assert not re.search(r"(https?|s3|gs|minio|file)://", text)
    for spec in yaml.safe_load_all(text):
        for executor in spec.get("deploymentSpec", {}).get("executors", {}).values():
            source = executor["container"]["command"][-1]
            assert not re.search(r"\{\{|\$\$|\$\(", source)
