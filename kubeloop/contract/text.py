"""The contract as a pipeline parameter: canonical ASCII JSON in which Argo and Kubernetes find nothing to expand."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kubeloop.digests import canonical_json
from kubeloop.errors import PermanentError

LIMIT_BYTES = 100_000
"""Argo refuses 128 KiB of parameters together; measured on KFP 2.17.0."""

Model = TypeVar("Model", bound=BaseModel)


def escape(text: str) -> str:
    """JSON text with `{{` and `$` as JSON escapes: `json.loads` gives back the same document."""
    return text.replace("{{", "\\u007b\\u007b").replace("$", "\\u0024")


def encode_document(document: Any) -> str:
    """JSON types as parameter text."""
    return escape(canonical_json(document))


def decode_document(text: str) -> Any:
    """What `encode_document` wrote."""
    return json.loads(text)


def encode(model: BaseModel) -> str:
    """A model as parameter text: fields and columns in their order, what has its default value left out to be short."""
    document = model.model_dump(mode="json", exclude_defaults=True)
    return escape(json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False))


def decode(text: str, model: type[Model]) -> Model:
    """The model that `encode` wrote.

    Raises:
        PermanentError: The text is no such model; the pipeline was compiled for another version.
    """
    try:
        return model.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise PermanentError(
            f"a {model.__name__} was expected in the pipeline's parameter, but {error}",
            "make the arguments with the same version of kubeloop that the pipeline was compiled with",
            section=model.__name__,
        ) from error
