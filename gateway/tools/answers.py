"""Shapes of answers that several tools share."""

from pydantic import BaseModel, ConfigDict


class Told(BaseModel):
    """What was done, in words."""

    model_config = ConfigDict(frozen=True)

    detail: str
