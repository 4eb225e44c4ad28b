"""The contract's words about watching a served model."""

from typing import Literal

from pydantic import Field, model_validator

from kubeloop.contract.base import Strict
from kubeloop.contract.data import Source
from kubeloop.contract.durations import Duration


class WindowSize(Strict):
    """When a window is full: at so many rows, or when so much time has passed, whichever is first."""

    rows: int = Field(
        1000, ge=50, le=1_000_000, description="Rows of a full window; fewer where training rows suffice for fewer."
    )
    time: Duration | None = Field(None, description="A window is closed after so long, such as 1d, full or not.")
    minimum_rows: int = Field(100, ge=20, description="Fewer rows than this are not judged, and that is said.")


class Confirm(Strict):
    """How often a signal must be seen before it counts."""

    windows: int = Field(2, ge=1, description="In so many windows ...")
    of: int = Field(3, ge=1, le=100, description="... of the last so many.")

    @model_validator(mode="after")
    def _within(self) -> "Confirm":
        if self.windows > self.of:
            raise ValueError(f"{self.windows} of the last {self.of} windows can never be; windows <= of was expected")
        return self


class Outliers(Strict):
    """Rows that are unlike any in training."""

    kind: Literal["mahalanobis", "isolation_forest", "none"] = Field("mahalanobis", description="How they are told.")
    rate: float = Field(0.01, gt=0, le=0.2, description="Share of rows like those of training that are called so.")


class Detectors(Strict):
    """What is told of a window, at what rate of false alarms."""

    engine: Literal["native", "alibi"] = Field(
        "native", description="alibi: distances measured by alibi-detect (extra `alibi`; its licence is BSL 1.1)."
    )
    test: Literal["ks", "cvm"] = Field("ks", description="Of numbers: Kolmogorov-Smirnov or Cramer-von Mises.")
    window: WindowSize = WindowSize()
    rate: float = Field(
        0.05,
        gt=0,
        le=0.2,
        description="Share of windows with nothing wrong that may show any signal, all together; nine of ten "
        "references keep it.",
    )
    effect: float = Field(0.05, ge=0, le=1, description="Smallest distance beyond chance that is worth telling.")
    share: float = Field(0.01, ge=0, le=1, description="Smallest rise of a share of rows that is worth telling.")
    confirm: Confirm = Confirm()
    blocks: str | None = Field(
        None, min_length=1, description="Which rows depend on each other: a column, or `day`; else as `gate.blocks`."
    )
    ignore: tuple[str, ...] = Field((), description="Features that move by design, such as a month or a counter.")
    outliers: Outliers = Outliers()
    novel_rate: float = Field(
        0.05, gt=0, le=0.2, description="Share of rows of known classes that are called of no known class."
    )


class Log(Strict):
    """What is kept of requests and answers. Only columns of the model are, whatever else a request holds."""

    mode: Literal["required", "bounded"] = Field(
        "required", description="required: an answer waits until it is on disk; bounded: it leaves at once."
    )
    keep: Duration = Field("90d", description="How long rows stay in the log, such as 90d.")
    hash: tuple[str, ...] = Field((), description="Features whose values are logged as keyed hashes.")
    drop: tuple[str, ...] = Field((), description="Features whose values are not logged.")
    keys: Literal["plain", "hashed"] | None = Field(
        None,
        description="How business keys are logged; if not given: hashed where a column of data.id is pii, else plain.",
    )


class Labels(Strict):
    """The truth, which comes late."""

    maturity: Duration = Field("30d", description="So long after a prediction its label is there, if it ever comes.")
    coverage_at_least: float = Field(
        0.5, ge=0, le=1, description="Share of mature rows with a label, below which they tell nothing."
    )
    source: Source | None = Field(
        None, description="Where the component `labels` reads them: a file, an address or a database."
    )
    key: str | None = Field(
        None, min_length=1, description="Column with the business key; if not given, labels name events by `event_id`."
    )
    event_id: str = Field("event_id", min_length=1, description="Column with the id of the request's event.")
    value: str = Field("value", min_length=1, description="Column with what came true.")


class Monitoring(Strict):
    """Watching the endpoint."""

    log: Log = Log()
    labels: Labels = Labels()
    detectors: Detectors = Detectors()
