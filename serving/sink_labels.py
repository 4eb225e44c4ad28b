"""The body of `POST /labels`."""

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubeloop.monitoring.labels.storing import Label
from kubeloop.monitoring.log.reading import micros

AT_ONCE = 100_000
"""Labels of one request."""


class RefusedLabelsError(Exception):
    """The text says what to mend; it quotes no value."""


class _Posted(BaseModel):
    """One label; `event_id` with the `row` of its request, or `key`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    event_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    row: Annotated[int, Field(ge=0, lt=2**31)] = 0
    key: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    value: str | int | float | bool | None
    observed_at: Annotated[dt.datetime, Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _one_name(self) -> "_Posted":
        if (self.event_id is None) == (self.key is None):
            raise ValueError("exactly one of event_id and key was expected")
        if self.observed_at is not None and self.observed_at.tzinfo is None:
            raise ValueError("observed_at needs a time zone, such as Z")
        return self

    def label(self) -> Label:
        return Label(
            by="key" if self.event_id is None else "event",
            ident=self.event_id or self.key or "",
            row=self.row,
            value=self.value,
            observed_at=None if self.observed_at is None else max(0, micros(self.observed_at)),
        )


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = "default"
    service: str
    labels: Annotated[tuple[_Posted, ...], Field(min_length=1, max_length=AT_ONCE)]


def posted_labels(body: bytes) -> tuple[str, str, list[Label]]:
    """Namespace, service and labels of a body such as this, `namespace` and `row` being `default` and 0 if left out.

        {"namespace": "default", "service": "heart", "labels": [
          {"event_id": "8ea85d19", "row": 0, "value": 1, "observed_at": "2026-03-01T12:00:00Z"},
          {"key": "patient-17", "value": 0}]}

    Raises:
        RefusedLabelsError: It is none; the first finding is told.
    """
    try:
        found = _Body.model_validate_json(body)
        return found.namespace, found.service, [posted.label() for posted in found.labels]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise RefusedLabelsError(f"{place}: {first['msg']}") from None
