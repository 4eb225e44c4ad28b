"""The manifest: all that a package says about itself. Its canonical JSON is the package's identity."""

import json
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from kubeloop.decisions import Verdict
from kubeloop.digests import canonical_json, document_digest
from kubeloop.errors import IntegrityError, PermanentError
from kubeloop.learning.inputs import InputColumn

MANIFEST = "manifest.json"
ESTIMATOR = "estimator.skops"
README = "README.md"
CODE = "code"
"""The folder with the sources of model and preprocessing, to be read and never run."""

TEST = "test/test_package.py"
REFERENCE = "monitoring/reference.zip"
"""What windows of live rows are held against: JSON and plain arrays; the room `monitoring` reads them."""
GOLDEN_ID = "kubeloop-golden"
"""The `X-Request-Id` of golden requests: they are nobody's, and stay out of the inference log."""

DETACHED = "detached"
"""The folder of facts that are true of one build and not of the model: host, run, the whole decision. Not digested."""

FORMAT = 1
DIGEST = re.compile(r"sha256-[0-9a-f]{64}")

Digest = Annotated[str, StringConstraints(pattern=r"^sha256-[0-9a-f]{64}$")]
Value = str | int | float | bool
Cell = Value | None


class _Part(BaseModel):
    """Frozen, refuses unknown keys and non-finite numbers: what cannot be written as JSON is refused at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Feature(_Part):
    """One column that the model reads; the order of the features is the order of a request's cells."""

    name: str
    kind: Literal["number", "category", "boolean", "timestamp"]
    categories: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = True

    def column(self) -> InputColumn:
        """The feature as `kubeloop.learning.inputs.to_frame` wants it."""
        return InputColumn(
            name=self.name,
            kind=self.kind,
            categories=None if self.categories is None else list(self.categories),
            minimum=self.minimum,
            maximum=self.maximum,
            nullable=self.nullable,
        )


class Metric(_Part):
    """A metric on the test rows, with its confidence interval."""

    value: float
    low: float | None
    high: float | None
    method: str
    n: int = Field(ge=0)


class Judgement(_Part):
    """What the model gate said. Against whom it was judged is a fact of the run, not of the model: see `detached/`."""

    gate: str
    verdict: Verdict


class Golden(_Part):
    """Requests made up from the schema, and what this very estimator file answered to them.

    Attributes:
        requests: Rows of cells in feature order; None is a missing value.
        labels: One per request, for classifiers.
        probabilities: One row per request, one column per class, for classifiers.
        values: One per request, for regressors.
    """

    requests: tuple[tuple[Cell, ...], ...]
    labels: tuple[Value, ...] | None = None
    probabilities: tuple[tuple[float, ...], ...] | None = None
    values: tuple[float, ...] | None = None


class Environment(_Part):
    """What scoring depends on beside the files. Facts of the host (CPU, patch release) are detached."""

    python: str = Field(description="Major and minor version, such as 3.11.")
    implementation: str
    libraries: dict[str, str] = Field(description="Versions of the libraries that take part in scoring.")
    variables: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables that change the last bits of a fit, where they were set.",
    )


class Place(_Part):
    """Where rows came from."""

    name: str
    place: str = Field(description="As the contract says: a path relative to it, or a URL without credentials.")


class Rows(_Part):
    """Rows that one step read."""

    digest: Digest | None = Field(None, description="Of the table, where the step that read it said so.")
    rows: int | None = None


class DataSource(_Part):
    """The table that the model was made from, and what training and validation saw of it."""

    digest: str
    sources: tuple[Place, ...] = ()
    training: Rows = Rows()
    validation: Rows = Rows()


class PlanProof(_Part):
    """What the plan's answers were held against: the estimator's, before the package was made."""

    training_rows: int = Field(ge=0)
    adversarial_rows: int = Field(ge=0, description="Ties at thresholds, neighbouring floats, gaps, extreme values.")
    max_difference: float = Field(ge=0, description="The power of ten that none exceeds; relative to a value above 1.")
    flips: Literal[0] = 0
    evaluators: tuple[str, ...] = Field(description="All of them answered with the same bits.")


class ScoringPlan(_Part):
    """A package is scored by its plan, or by scikit-learn for a reason."""

    files: tuple[str, ...] = Field((), max_length=2, description="Document and arrays; none without a plan.")
    proof: PlanProof | None = None
    dropped: str | None = Field(None, description="Why scikit-learn serves.")


class Manifest(_Part):
    """The canonical content of a package, but for the bytes of its files, which it names by digest."""

    kubeloop_package: Literal[1]
    name: str
    task: Literal["binary", "multiclass", "regression"]
    features: tuple[Feature, ...] = Field(min_length=1)
    classes: tuple[Value, ...]
    positive: Value | None = None
    estimator: dict[str, Any] = Field(description="The learner and its parameters.")
    files: dict[str, Digest] = Field(description="POSIX path in the package to digest; all files but the manifest.")
    metrics: dict[str, Metric]
    decision: Judgement
    dummy: dict[str, Any] | list[Any] | float | None = Field(description="Class shares, or the mean of the target.")
    contract: dict[str, Any]
    training_rows: dict[str, Any] = Field(description="Which rows were trained on, so that none is used to compare.")
    data: DataSource
    golden: Golden
    environment: Environment
    code_version: str = Field(description="The release of kubeloop that holds the code of features and model.")
    user_code: Digest | None = Field(
        None, description="Of the user's own transformers, whose source is in `code/user`."
    )
    scoring_plan: ScoringPlan | None = Field(None, description="The exact scoring plan, or why there is none.")
    reference_profile: str | None = Field(
        None, description="Path of the reference profile that live rows are held against; null: it cannot be watched."
    )

    @field_validator("files")
    @classmethod
    def _paths_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or path.parts[0] in (MANIFEST, DETACHED):
                raise ValueError(f"{name!r} is no path of a package's file")
        if ESTIMATOR not in files:
            raise ValueError(f"{ESTIMATOR} is not among the files")
        return files

    @model_validator(mode="after")
    def _parts_are_among_the_files(self) -> "Manifest":
        lost = [name for name in (self.scoring_plan.files if self.scoring_plan else ()) if name not in self.files]
        if lost:
            raise ValueError(f"{lost[0]!r} of the scoring plan is not among the files")
        if self.reference_profile is not None and self.reference_profile not in self.files:
            raise ValueError(f"{self.reference_profile!r}, the reference profile, is not among the files")
        return self

    def code(self) -> dict[str, str]:
        """The sources of model and preprocessing: path in the package to digest."""
        return {name: digest for name, digest in self.files.items() if name.startswith(f"{CODE}/")}

    def text(self) -> str:
        """The canonical JSON, which is the exact content of `manifest.json`."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """The package's identity."""
        return document_digest(self.model_dump(mode="json"))


def parse(content: bytes) -> Manifest:
    """The manifest in the bytes of a `manifest.json`.

    Raises:
        IntegrityError: The bytes are no canonical manifest.
        PermanentError: The package is of a format that this release does not know.
    """
    fix = "take the package again from where it was built; this copy is damaged"
    try:
        document = json.loads(content)
    except ValueError as error:
        raise IntegrityError(f"{MANIFEST} should be JSON, but {error}", fix, file=MANIFEST) from error
    version = document.get("kubeloop_package") if isinstance(document, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise PermanentError(
            f"the package has format {version}, this release reads up to {FORMAT}",
            "use the release of kubeloop that wrote it, or a later one",
            file=MANIFEST,
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"{MANIFEST} should be a manifest, but {place}: {first['msg']}", fix, file=MANIFEST
        ) from error
    if manifest.text().encode("ascii") != content:
        raise IntegrityError(
            f"{MANIFEST} should be canonical JSON (sorted keys, no white space), but it is written otherwise",
            fix,
            file=MANIFEST,
        )
    return manifest
