"""The keys of VergeOS' objects as distinct types: the same number may name a VM and another VM's machine."""

from typing import NewType

VmKey = NewType("VmKey", int)
MachineKey = NewType("MachineKey", int)
NetworkKey = NewType("NetworkKey", int)
TenantKey = NewType("TenantKey", int)
NodeKey = NewType("NodeKey", int)
