"""What `POST node_actions` does: maintenance drains a node (VergeOS API notes 3.12)."""

from collections.abc import Callable
from typing import Any

from gateway.simulator.acting.power import MIGRATION_SECONDS, Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Action, Journal
from gateway.simulator.model import Database, Row

LEAVE_SECONDS = 2.0
REBOOT_SECONDS = 10.0

Params = dict[str, Any]


class NodeActions:
    """Maintenance and power of nodes."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.power = power
        self.journal = journal
        self.table: dict[str, Callable[[Row, Params, Action], None]] = {
            "maintenance": self.maintenance,
            "leavemaintenance": self.leavemaintenance,
            "maintenance_reboot": self.maintenance,
            "refresh": self.nothing,
            "refresh_status": self.nothing,
            "ipmi_test": self.nothing,
            "clear_sel": self.nothing,
            "refresh_fabric_status": self.nothing,
            "receive_file": self.nothing,
            "interfaces": self.nothing,
            "reset": self.reset,
            "poweron": self.refuse,
            "poweroff": self.refuse,
            "kill": self.refuse,
        }

    def nothing(self, _node: Row, _params: Params, action: Action) -> None:
        """Accepted; changes nothing that rows show."""
        action.effect_at = self.db.now()

    def refuse(self, _node: Row, _params: Params, action: Action) -> None:
        """Power of nodes goes by IPMI, which the simulated ones do not have."""
        raise ApiError(422, f"Node cannot {action.action}: IPMI is not configured")

    def reset(self, node: Row, _params: Params, action: Action) -> None:
        """Reboot a node that is in maintenance."""
        if not node.get("maintenance"):
            raise ApiError(422, "Node must be in maintenance mode")
        self.power.reboot(node["machine"], REBOOT_SECONDS, action.lands)

    def maintenance(self, node: Row, _params: Params, action: Action) -> None:
        """Move everything off the node, one machine after the other, then report `maintenance`."""
        if node.get("maintenance"):
            raise ApiError(422, "Node is already in maintenance mode")
        self.db["nodes"].change(node, {"maintenance": True})
        self._drain(node, action)

    def _drain(self, node: Row, action: Action) -> None:
        """One migration at a time, as the platform does by default."""
        if not node.get("maintenance"):
            return
        guests = [row for row in self.db["machine_status"].where("node", node["$key"]) if row.get("running")]
        guests = [row for row in guests if row["status"] == "running" and row["machine"] != node["machine"]]
        for guest in guests:
            target = self.power.place(guest["machine"], guest.get("running_ram", 0), avoid=node["$key"])
            if target is not None and guest.get("migratable", True):
                self.power.migrate(guest["machine"], target, lambda _moment: self._drain(node, action))
                return
        if guests:
            text = f"{len(guests)} machines cannot be moved off {node['name']}"
            self.journal.log(text, object_type="node", object_name=node["name"], level="error", machine=node["machine"])
            self.db.clock.after(MIGRATION_SECONDS, lambda _moment: self._drain(node, action))
            return
        self._status(node, "maintenance")
        action.effect_at = self.db.now()

    def leavemaintenance(self, node: Row, _params: Params, action: Action) -> None:
        """Take the node back into service."""
        if not node.get("maintenance"):
            raise ApiError(422, "Node is not in maintenance mode")
        self._status(node, "leavingmaintenance")

        def land(moment: float) -> None:
            self.db["nodes"].change(node, {"maintenance": False})
            self._status(node, "running")
            action.effect_at = moment

        self.db.clock.after(LEAVE_SECONDS, land)

    def _status(self, node: Row, word: str) -> None:
        self.db["machine_status"].change(self.power.status_of(node["machine"]), {"status": word})
