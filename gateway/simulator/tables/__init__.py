"""Declarations of every table of the simulated VergeOS."""

from gateway.simulator.model import Schema
from gateway.simulator.tables.machines import MACHINE_TABLES
from gateway.simulator.tables.networks import NETWORK_TABLES
from gateway.simulator.tables.platform import PLATFORM_TABLES
from gateway.simulator.tables.system import SYSTEM_TABLES
from gateway.simulator.tables.tenants import TENANT_TABLES
from gateway.simulator.tables.vms import VM_TABLES

SCHEMAS: tuple[Schema, ...] = (
    *VM_TABLES,
    *MACHINE_TABLES,
    *NETWORK_TABLES,
    *TENANT_TABLES,
    *PLATFORM_TABLES,
    *SYSTEM_TABLES,
)
