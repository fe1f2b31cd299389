"""Action tables and row actions: who is addressed, which actions exist, what they do (VergeOS API notes 2.9)."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.simulator.acting.node_actions import NodeActions
from gateway.simulator.acting.power import Power
from gateway.simulator.acting.tenant_actions import TenantActions
from gateway.simulator.acting.vm_actions import VmActions
from gateway.simulator.acting.vnet_actions import VnetActions
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Action, Journal
from gateway.simulator.model import Database, Row, Table

Run = Callable[[Row, dict[str, Any], Action], dict[str, Any] | None]
# action table -> (field that names the owner, table of the owner, kind in `logs`)
OWNERS = {
    "vm_actions": ("vm", "vms", "vm"),
    "vnet_actions": ("vnet", "vnets", "vnet"),
    "tenant_actions": ("tenant", "tenants", "tenant"),
    "node_actions": ("node", "nodes", "node"),
    "alarm_actions": ("alarm", "alarms", "system"),
}
# row paths such as `POST alarms/8/resolve` -> the same thing in the action table's words
ROW_ACTIONS = {
    ("alarms", "resolve"): ("alarm_actions", "resolve"),
    ("nodes", "enable_maintenance"): ("node_actions", "maintenance"),
    ("nodes", "disable_maintenance"): ("node_actions", "leavemaintenance"),
    ("nodes", "maintenance_reboot"): ("node_actions", "maintenance_reboot"),
}


class Actions:
    """Runs actions and writes them to the platform's logs."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.journal = journal
        self._next_key = 1
        self._runs: dict[str, Mapping[str, Run]] = {
            "vm_actions": VmActions(db, power).table,
            "vnet_actions": VnetActions(db, power).table,
            "tenant_actions": TenantActions(db, power, journal).table,
            "node_actions": NodeActions(db, power, journal).table,
            "alarm_actions": {"resolve": self._resolve_alarm},
        }

    def owner(self, table: str, body: Mapping[str, Any]) -> tuple[Table, Row | None, Any]:
        """The table and row an action addresses, and the key as it was given."""
        column, owners, _ = OWNERS[table]
        key = body.get(column)
        return self.db[owners], None if key is None else self.db[owners].get(key), key

    def run(self, table: str, owner: Row | None, action: Action) -> dict[str, Any]:
        """Carry out an action and return its receipt.

        Raises `ApiError`: 422 for an action that is not in the list, 404 for an owner that is not there, or the
        action's own refusal.
        """
        runs = self._runs[table]
        if action.action not in runs:
            raise ApiError(422, f"value '{action.action}' is not in list for field 'action'")
        column, _, kind = OWNERS[table]
        if owner is None:
            raise ApiError(404, f"error setting field '{column}': No such file or directory")
        text = f"'{action.action}' was requested"
        machine = owner.get("machine") if kind != "system" else None
        self.journal.log(text, object_type=kind, object_name=action.name, user=action.user, machine=machine)
        response = runs[action.action](owner, action.params, action)
        key = self._next_key
        self._next_key += 1
        receipt = {"location": f"/v4/{table}/{key}", "dbpath": f"{table}/{key}", "$row": key, "$key": str(key)}
        return receipt if response is None else {**receipt, "response": response}

    def _resolve_alarm(self, alarm: Row, _params: dict[str, Any], action: Action) -> None:
        if not alarm.get("resolvable"):
            raise ApiError(422, "Alarm is not resolvable")
        vnet = self.db.follow(self.db["alarms"], alarm, "owner") if alarm["owner_type"] == "vnets" else None
        if vnet is not None:  # resolving can run an action (VergeOS API notes 3.16)
            vnet[0].change(vnet[1], {"need_fw_apply": False})
        now = int(self.db.now())
        history = {name: alarm.get(name) for name in ("owner", "alarm_type", "level", "status", "alarm_id")}
        raised = {"alarm_raised": alarm.get("created", 0), "alarm_lowered": now, "archived_by": action.user}
        self.db["alarm_history"].insert({**history, **raised})
        self.db["alarms"].remove(alarm["$key"])
        action.effect_at = self.db.now()
