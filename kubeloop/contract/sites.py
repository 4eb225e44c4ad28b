"""A contract as it is at one site."""

from pydantic import ValidationError

from kubeloop.contract.check import check
from kubeloop.contract.explain import explain
from kubeloop.contract.findings import Finding, contract_error, deep_merge
from kubeloop.contract.load import FIXED, parse
from kubeloop.contract.model import Contract


def at_site(contract: Contract, site_name: str) -> Contract:
    """The contract with the overrides of a site, checked again.

    Mappings are overridden key by key, lists and values as a whole, null brings back the default. The result has no
    `sites`, so that editing another site's override changes nothing here.

    Args:
        contract: As read.
        site_name: Such as `laptop`; a site without an override has the contract as it is.

    Raises:
        InputError: The overridden contract is wrong.
    """
    over = {key: value for key, value in contract.sites.get(site_name, {}).items() if key not in FIXED}
    document = deep_merge(contract.model_dump(mode="json"), over)
    document["sites"] = {}
    try:
        made = parse(document)
    except ValidationError as error:
        problems = explain(error, document, lambda path: "what the override says")
        raise contract_error(
            [Finding(problem) for problem in problems], f"correct sites.{site_name} in loop.yaml"
        ) from error
    check(made)
    return made
