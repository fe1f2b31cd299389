"""The shape of a tag on a VM."""

from pydantic import BaseModel, ConfigDict

from gateway.core.ids import VmKey


class VmTag(BaseModel):
    """One tag that one VM carries; its name is cleaned."""

    model_config = ConfigDict(frozen=True)

    id: int
    vm_id: VmKey
    tag: str
