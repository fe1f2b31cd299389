"""One simulated VergeOS without its server: database, behaviours, rules, accounts."""

from dataclasses import dataclass

from gateway.simulator.acting.actions import Actions
from gateway.simulator.acting.power import Power
from gateway.simulator.auth import Account, Accounts
from gateway.simulator.building.furniture import build_furniture
from gateway.simulator.building.population import Plan, build_machines
from gateway.simulator.clock import Clock
from gateway.simulator.journal import Journal
from gateway.simulator.model import Database
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.tables import SCHEMAS
from gateway.simulator.writing.device_rules import DeviceRules
from gateway.simulator.writing.network_rules import NetworkRules
from gateway.simulator.writing.rules import Rules
from gateway.simulator.writing.tenant_rules import TenantRules
from gateway.simulator.writing.vm_rules import VmRules
from gateway.simulator.writing.writes import Writes


@dataclass(slots=True)
class World:
    """Everything behind the API."""

    db: Database
    journal: Journal
    power: Power
    writes: Writes
    actions: Actions
    accounts: Accounts


def build_world(settings: SimulatorSettings) -> World:
    """Build a simulated VergeOS by seed: rows, behaviours, and the accounts of the settings."""
    db = Database(SCHEMAS, Clock(settings.time_scale), settings.seed)
    journal = Journal(db)
    power = Power(db, journal)
    tenants = TenantRules(db, power, journal)
    tables = (
        VmRules(db, power, journal).tables()
        | DeviceRules(db, power, journal).tables()
        | NetworkRules(db, power, journal).tables()
        | tenants.tables()
    )
    accounts = Accounts(db, settings.lock_after)
    accounts.add(Account(settings.user, settings.password, {settings.api_key}))
    accounts.add(Account("viewer", "viewer", {f"{settings.api_key}-read"}, may_write=False))
    build_machines(db, power, Plan(settings.vms, settings.seed))
    build_furniture(db, journal, power, tenants)
    return World(db, journal, power, Writes(db, Rules(db, tables)), Actions(db, power, journal), accounts)
