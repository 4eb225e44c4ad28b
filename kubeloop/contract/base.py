"""What all models of the contract share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]


class Strict(BaseModel):
    """Frozen, and refuses keys it does not know, and numbers that JSON does not."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
