"""The contract's JSON Schema, with which editors complete, explain and underline `loop.yaml`."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from kubeloop.contract.model import Contract


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a contract as written; it knows shapes and words, not how they fit together."""
    schema = Contract.model_json_schema(mode="validation")
    head = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "loop.yaml",
        "description": "A Kubeloop contract: what a model must be, from its data to its endpoint.",
    }
    return head | {key: value for key, value in schema.items() if key not in head}
