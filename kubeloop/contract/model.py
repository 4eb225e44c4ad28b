"""The contract: what `loop.yaml` says, as frozen typed models, put together from its chapters.

Every model refuses unknown keys. Field descriptions are shown by editors (by the JSON Schema) and in error messages.
"""

from typing import Any, Literal

from pydantic import Field

from kubeloop.contract.base import Name, Strict
from kubeloop.contract.business import Business
from kubeloop.contract.data import Data
from kubeloop.contract.estimator import CrossValidation, Estimator
from kubeloop.contract.features import Features
from kubeloop.contract.judgement import Gate, Metrics, Slice
from kubeloop.contract.monitoring import Monitoring
from kubeloop.contract.search import Search
from kubeloop.contract.serving import Serving
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target


class Contract(Strict):
    """All of `loop.yaml`."""

    kubeloop: Literal[1] = Field(description="Version of the contract's language.")
    name: Name = Field(description="Name of the model: small letters, digits and `-`.")
    business: Business | None = Field(None, description="Why the model exists and who answers for it.")
    data: Data
    target: Target
    split: Split = Split()
    features: Features = Features()
    estimator: Estimator
    cross_validation: CrossValidation = CrossValidation()
    search: Search | None = Field(None, description="Which parameters to search for; without it the estimator's own.")
    metrics: Metrics
    slices: tuple[Slice, ...] = Field((), description="Parts of the population that are judged on their own.")
    gate: Gate = Gate()
    serving: Serving = Serving()
    monitoring: Monitoring = Monitoring()
    seed: int = Field(0, ge=0, lt=2**32, description="Of all that is random; same data, contract and seed, same model.")
    sites: dict[Name, dict[str, Any]] = Field(default_factory=dict, description="Overrides per site.")
