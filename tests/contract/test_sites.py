from collections.abc import Callable

import pytest

from kubeloop.contract.model import Contract
from kubeloop.contract.sites import at_site
from kubeloop.errors import InputError

SITES = """
sites:
  cluster:
    serving: {replicas: {minimum: 2, maximum: 5}}
    data: {columns: {age: {maximum: null}}, sources: [{name: main, path: "s3://bucket/rows.csv"}]}
    metrics: {also: [log_loss]}
"""


@pytest.fixture
def contract(base: str, read: Callable[[str], Contract]) -> Contract:
    return read(base + SITES)


def test_mappings_are_merged_and_lists_replaced(contract: Contract) -> None:
    made = at_site(contract, "cluster")
    assert (made.serving.replicas.minimum, made.serving.replicas.maximum) == (2, 5)
    assert made.serving.slo == contract.serving.slo
    assert [source.path for source in made.data.sources] == ["s3://bucket/rows.csv"]
    assert made.metrics.also == ("log_loss",)
    assert made.data.columns.keys() == contract.data.columns.keys()


def test_null_brings_back_the_default(contract: Contract) -> None:
    assert at_site(contract, "cluster").data.columns["age"].maximum is None
    assert at_site(contract, "cluster").data.columns["age"].minimum == 0


def test_a_site_without_override_changes_nothing(contract: Contract) -> None:
    assert at_site(contract, "laptop") == contract.model_copy(update={"sites": {}})


def test_no_site_knows_the_others(contract: Contract) -> None:
    assert at_site(contract, "cluster").sites == {}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"serving": {"replicas": {"minimum": 9}}}, "minimum 9 is more than maximum 1"),
        ({"serving": {"replica": {}}}, "serving.replica: unknown key; did you mean 'replicas'?"),
        ({"metrics": {"primary": "rmse"}}, "rmse does not fit a binary target"),
        ({"estimator": None}, "estimator: missing"),
    ],
)
def test_is_checked_again(override: dict[str, object], said: str, contract: Contract) -> None:
    spoilt = contract.model_copy(update={"sites": {"here": override}})
    with pytest.raises(InputError) as caught:
        at_site(spoilt, "here")
    assert said in str(caught.value)
