"""A contract as the arguments of a compiled pipeline."""

from kubeloop.contract import Contract, encode, sections_of
from kubeloop.contract.text import LIMIT_BYTES
from kubeloop.errors import InputError


def train_arguments(contract: Contract) -> dict[str, str]:
    """Arguments of the train pipeline, by parameter name.

    Raises:
        InputError: Together they are larger than what Argo takes.
    """
    sections = sections_of(contract)
    arguments = {
        "ingest_contract": encode(sections.ingest),
        "validate_contract": encode(sections.validation),
        "split_contract": encode(sections.split),
        "tune_contract": encode(sections.tune),
        "train_contract": encode(sections.train),
        "evaluate_contract": encode(sections.evaluate),
        "monitor_contract": encode(sections.monitor),
        "register_contract": encode(sections.register_),
        "deploy_contract": encode(sections.deploy),
    }
    size = sum(len(text) for text in arguments.values())
    if size > LIMIT_BYTES:
        raise InputError(
            f"the contract takes at most {LIMIT_BYTES:,} bytes as pipeline parameters, this one takes {size:,}",
            "shorten the longest lists of values or descriptions in loop.yaml",
        )
    return arguments
