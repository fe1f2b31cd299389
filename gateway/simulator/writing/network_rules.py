"""Rules for writing networks and their rules (VergeOS API notes 3.10)."""

from gateway.simulator import inventory
from gateway.simulator.acting.power import Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Journal
from gateway.simulator.model import Database, Row
from gateway.simulator.writing.rules import Created, TableRules, Values

_NEEDS_RESTART = frozenset(
    {"dhcp_enabled", "dhcp_start", "dhcp_stop", "network", "ipaddress", "gateway", "mtu", "layer2_id", "layer2_type"}
)


class NetworkRules:
    """Creating, changing and deleting networks and firewall rules; the latter leave the network with a pending flag."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.power = power
        self.journal = journal

    def tables(self) -> dict[str, TableRules]:
        """The rules by table."""
        return {
            "vnets": TableRules(self._create_vnet, self._update_vnet, self._delete_vnet),
            "vnet_rules": TableRules(self._create_rule, self._update_rule, self._delete_rule),
        }

    def _create_vnet(self, values: Values, _arguments: Values, user: str) -> Created:
        if not values.get("name"):
            raise ApiError(422, "Validation error on field: 'name' - 'fails validation test'")
        values.setdefault("cluster", next(iter(self.db["clusters"].rows)))
        key = self.db["vnets"].take_key()
        machine = inventory.add_machine(self.db, "vnet", values["name"], values["cluster"], f"vnets/{key}")
        nic = inventory.add_nic(self.db, machine, {"name": "router", "ipaddress": values.get("ipaddress", "")})
        vnet = self.db["vnets"].insert({"$key": key, **values, "machine": machine, "nic": nic["$key"]})
        self.journal.log("Network was created", object_type="vnet", object_name=vnet["name"], user=user)
        return vnet, {"machine": str(machine)}

    def _update_vnet(self, vnet: Row, values: Values, _user: str) -> Values:
        schema = self.db["vnets"]
        changed = {name for name, value in values.items() if self.db.value(schema, vnet, name) != value}
        if changed & _NEEDS_RESTART and self.power.is_running(vnet["machine"]):
            values["need_restart"] = True
        return values

    def _delete_vnet(self, vnet: Row, user: str) -> None:
        if self.power.is_running(vnet["machine"]):
            raise ApiError(422, "Network must be stopped to delete")
        self.power.cancel(vnet["machine"])
        for rule in self.db["vnet_rules"].where("vnet", vnet["$key"]):
            self.db["vnet_rules"].remove(rule["$key"])
        inventory.remove_machine(self.db, vnet["machine"])
        self.db["vnets"].remove(vnet["$key"])
        self.journal.log("Network was deleted", object_type="vnet", object_name=vnet["name"], user=user)

    def _create_rule(self, values: Values, _arguments: Values, _user: str) -> Created:
        if values.get("vnet") is None:
            raise ApiError(422, "Validation error on field: 'vnet' - 'fails validation test'")
        values.setdefault("orderid", len(self.db["vnet_rules"].where("vnet", values["vnet"])))
        rule = self.db["vnet_rules"].insert(values)
        self._rules_changed(rule)
        return rule, None

    def _update_rule(self, rule: Row, values: Values, _user: str) -> Values:
        if values:
            self._rules_changed(rule)
        return values

    def _delete_rule(self, rule: Row, _user: str) -> None:
        if rule.get("system_rule"):
            raise ApiError(422, "System rules cannot be deleted")
        self.db["vnet_rules"].remove(rule["$key"])
        self._rules_changed(rule)

    def _rules_changed(self, rule: Row) -> None:
        """A running network waits for `refresh`; a stopped one never sets the flag (VergeOS API notes 3.10)."""
        vnet = self.db["vnets"].get(rule["vnet"])
        if vnet is not None and self.power.is_running(vnet["machine"]):
            self.db["vnets"].change(vnet, {"need_fw_apply": True})
