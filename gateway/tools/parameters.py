"""Parameters that several tools share, each declared once."""

from typing import Annotated

from pydantic import BeforeValidator, Field, Strict


def _whole(value: object) -> object:
    """Take 34.0 for 34, as JSON does; what is no number stays what it is, so that `true` never means the id 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
Ref = Whole | str

VmRef = Annotated[Ref, Field(description="VM id or exact name; `name:34` means the name 34")]
NetworkRef = Annotated[Ref, Field(description="network id or exact name")]
TenantRef = Annotated[Ref, Field(description="tenant id or exact name")]
NamePart = Annotated[str | None, Field(max_length=128, description="part of the name, any case")]
Limit = Annotated[int, Field(ge=1, le=1000, description="rows per answer")]
Offset = Annotated[int, Field(ge=0, description="rows to skip; `next` of the last answer")]
Grace = Annotated[int, Field(ge=0, le=14_400, description="seconds the guest may take")]
Force = Annotated[bool | None, Field(description="cut the power when the wait is over")]
JobId = Annotated[str, Field(min_length=1, max_length=64, description="id of a job")]
