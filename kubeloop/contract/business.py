"""The contract's words about the business: why the model exists, what is promised, what load is expected."""

from pydantic import Field

from kubeloop.contract.base import Name, Strict


class Sla(Strict):
    """A promise to the business."""

    name: Name = Field(description="Name of the promise.")
    promise: str = Field(description="What is promised, in a sentence.")


class Kpi(Strict):
    """A number the business watches, as an expression over metrics, columns, `prediction` and `label`."""

    name: Name = Field(description="Name of the number.")
    expression: str = Field(
        description="Over metrics, columns, `prediction` and `label`; what differs from row to row is averaged."
    )
    sla: Name | None = Field(None, description="The SLA that this KPI measures.")
    at_least: float | None = Field(None, description="What it must reach.")
    at_most: float | None = Field(None, description="What it must not exceed.")
    owner: str = Field(description="Who answers for it.")


class Load(Strict):
    """Expected load on the endpoint."""

    requests_per_second: float = Field(gt=0, description="Mean rate.")
    peak_factor: float = Field(1.0, ge=1, description="Peak over mean.")
    rows_per_request: int = Field(1, ge=1, description="Rows in one request.")


class Business(Strict):
    """Why this model exists and who answers for it."""

    problem: str = Field(description="What is wrong without the model.")
    outcome: str = Field(description="What is better with it.")
    owner: str = Field(description="Who answers for the model.")
    slas: tuple[Sla, ...] = Field((), description="Promises, each measured by at least one KPI.")
    kpis: tuple[Kpi, ...] = Field((), description="Numbers that the business watches.")
    load: Load | None = Field(None, description="Expected load on the endpoint.")
