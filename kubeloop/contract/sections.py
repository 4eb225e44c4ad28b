"""What each component gets to know: its own part of the contract, so that an edited alarm rule misses no cache."""

import datetime as dt

from pydantic import Field

from kubeloop.contract.base import Name, Strict
from kubeloop.contract.business import Business
from kubeloop.contract.data import Data
from kubeloop.contract.estimator import CrossValidation, Estimator
from kubeloop.contract.features import Features, Window
from kubeloop.contract.judgement import Gate, Metrics, Slice
from kubeloop.contract.model import Contract
from kubeloop.contract.monitoring import Detectors, Labels
from kubeloop.contract.search import Search
from kubeloop.contract.serving import Serving
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target
from kubeloop.contract.text import encode


class IngestSection(Strict):
    """For `ingest`; the split tells of which personal columns equal values must stay known."""

    name: Name
    data: Data
    target: Target
    split: Split = Split()


class ValidateSection(Strict):
    """For `validate`."""

    name: Name
    data: Data
    target: Target
    quarantine_at_most: float
    split: Split = Split()
    features: Features = Features()
    expires: dict[Name, dt.date] = Field(default_factory=dict)
    """By source: the last day on which its terms allow its use; sources whose terms do not end are not there."""


class SplitSection(Strict):
    """For `split`."""

    name: Name
    id: tuple[str, ...]
    time: str | None = None
    group: str | None = None
    target: Target
    split: Split
    windows: tuple[Window, ...] = ()
    seed: int


class TuneSection(Strict):
    """For `tune`."""

    name: Name
    estimator: Estimator
    seed: int
    search: Search | None = None


class TrainSection(Strict):
    """For `train`."""

    name: Name
    data: Data
    target: Target
    split: Split
    features: Features
    estimator: Estimator
    cross_validation: CrossValidation
    metrics: Metrics
    seed: int


class EvaluateSection(Strict):
    """For `evaluate`; id, group and time tell which rows depend on each other."""

    name: Name
    id: tuple[str, ...]
    group: str | None
    time: str | None
    target: Target
    split: Split
    metrics: Metrics
    slices: tuple[Slice, ...]
    gate: Gate
    business: Business | None
    seed: int


class MonitorSection(Strict):
    """For `fit_monitor`; id, group and time tell which rows depend on each other."""

    name: Name
    id: tuple[str, ...]
    group: str | None
    time: str | None
    site: str | None = None
    target: Target
    blocks: str | None
    bounds: dict[str, tuple[float | None, float | None]]
    """By column: what the contract allows at least and at most, where it says either."""
    detectors: Detectors
    unlogged: tuple[str, ...] = ()
    """Features that the inference log hashes or drops: of live rows they are not known."""
    seed: int


class LabelsSection(Strict):
    """For `labels`."""

    name: Name
    labels: Labels


class DeploySection(Strict):
    """For `deploy`."""

    name: Name
    serving: Serving


class Sections(Strict):
    """All sections of one contract. `register` gets the whole contract, for the package keeps it."""

    ingest: IngestSection
    validation: ValidateSection
    split: SplitSection
    tune: TuneSection
    train: TrainSection
    evaluate: EvaluateSection
    monitor: MonitorSection
    register_: Contract
    deploy: DeploySection


def _bare(data: Data) -> Data:
    """Data without the words for people: no edit of a description misses a cache."""
    columns = {name: column.model_copy(update={"description": ""}) for name, column in data.columns.items()}
    sources = tuple(source.model_copy(update={"terms": None}) for source in data.sources)
    return data.model_copy(update={"columns": columns, "sources": sources, "terms": None})


def _expires(data: Data) -> dict[str, dt.date]:
    terms = {source.name: source.terms or data.terms for source in data.sources}
    return {name: found.expires for name, found in terms.items() if found is not None and found.expires is not None}


def _bounds(data: Data) -> dict[str, tuple[float | None, float | None]]:
    found = {name: (column.minimum, column.maximum) for name, column in data.columns.items()}
    return {name: bounds for name, bounds in found.items() if bounds != (None, None)}


def sections_of(contract: Contract) -> Sections:
    """Cut the contract into what each component needs."""
    c = contract
    data = _bare(c.data)
    return Sections(
        ingest=IngestSection(name=c.name, data=data, target=c.target, split=c.split),
        validation=ValidateSection(
            name=c.name,
            data=data,
            target=c.target,
            quarantine_at_most=c.gate.quarantine_at_most,
            split=c.split,
            features=c.features,
            expires=_expires(c.data),
        ),
        split=SplitSection(
            name=c.name,
            id=c.data.id,
            time=c.data.time,
            group=c.data.group,
            target=c.target,
            split=c.split,
            windows=c.features.windows,
            seed=c.seed,
        ),
        tune=TuneSection(name=c.name, estimator=c.estimator, seed=c.seed, search=c.search),
        train=TrainSection(
            name=c.name,
            data=data,
            target=c.target,
            split=c.split,
            features=c.features,
            estimator=c.estimator,
            cross_validation=c.cross_validation,
            metrics=c.metrics,
            seed=c.seed,
        ),
        evaluate=EvaluateSection(
            name=c.name,
            id=c.data.id,
            group=c.data.group,
            time=c.data.time,
            target=c.target,
            split=c.split,
            metrics=c.metrics,
            slices=c.slices,
            gate=c.gate,
            business=c.business,
            seed=c.seed,
        ),
        monitor=MonitorSection(
            name=c.name,
            id=c.data.id,
            group=c.data.group,
            time=c.data.time,
            site=c.data.site,
            target=c.target,
            blocks=c.monitoring.detectors.blocks or c.gate.blocks,
            bounds=_bounds(c.data),
            detectors=c.monitoring.detectors,
            unlogged=tuple(dict.fromkeys((*c.monitoring.log.hash, *c.monitoring.log.drop))),
            seed=c.seed,
        ),
        register_=c,
        deploy=DeploySection(name=c.name, serving=c.serving),
    )


def parameter_bytes(contract: Contract) -> int:
    """How many bytes the contract's sections take together as pipeline parameters."""
    sections = sections_of(contract)
    return sum(len(encode(getattr(sections, name))) for name in Sections.model_fields)
