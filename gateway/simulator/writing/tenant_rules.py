"""Rules for writing tenants, tags and alarms (VergeOS API notes 3.11, 3.16, 3.20)."""

import uuid

from gateway.simulator import inventory
from gateway.simulator.acting.power import Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Journal
from gateway.simulator.model import Database, Row
from gateway.simulator.writing.rules import Created, TableRules, Values


class TenantRules:
    """Creating and deleting tenants, tenant nodes and storage; deleting tags with their members."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.power = power
        self.journal = journal

    def tables(self) -> dict[str, TableRules]:
        """The rules by table."""
        return {
            "tenants": TableRules(create=self._create_tenant, delete=self._delete_tenant),
            "tenant_nodes": TableRules(create=self._create_node, delete=self._delete_node),
            "tag_categories": TableRules(delete=self._delete_tag_category),
            "tags": TableRules(delete=self._delete_tag),
            "alarms": TableRules(update=self._update_alarm),
        }

    def _create_tenant(self, values: Values, _arguments: Values, user: str) -> Created:
        if not values.get("name"):
            raise ApiError(422, "Validation error on field: 'name' - 'fails validation test'")
        tenant = self.add_tenant(values)
        self.journal.log("Tenant was created", object_type="tenant", object_name=tenant["name"], user=user)
        return tenant, None

    def add_tenant(self, values: Values) -> Row:
        """Add a stopped tenant with its status row; returns the tenant."""
        key = self.db["tenants"].take_key()
        status = self.db["tenant_status"].insert({"tenant": key})
        stats = self.db["tenant_stats"].insert({"tenant": key})
        row = {"$key": key, **values, "uuid": str(uuid.uuid4()), "status": status["$key"], "stats": stats["$key"]}
        return self.db["tenants"].insert(row)

    def _delete_tenant(self, tenant: Row, user: str) -> None:
        status = self.db["tenant_status"].rows[tenant["status"]]
        if status.get("status", "stopped") != "stopped":
            raise ApiError(422, "Tenant must be stopped to delete")
        for node in self.db["tenant_nodes"].where("tenant", tenant["$key"]):
            self._delete_node(node, user)
        for storage in self.db["tenant_storage"].where("tenant", tenant["$key"]):
            self.db["tenant_storage"].remove(storage["$key"])
        self.db["tenant_status"].remove(tenant["status"])
        self.db["tenants"].remove(tenant["$key"])
        self.journal.log("Tenant was deleted", object_type="tenant", object_name=tenant["name"], user=user)

    def _create_node(self, values: Values, _arguments: Values, _user: str) -> Created:
        if values.get("tenant") is None:
            raise ApiError(422, "Validation error on field: 'tenant' - 'fails validation test'")
        return self.add_node(values), None

    def add_node(self, values: Values) -> Row:
        """Add a stopped tenant node with its machine; returns its row."""
        number = len(self.db["tenant_nodes"].where("tenant", values["tenant"])) + 1
        key = self.db["tenant_nodes"].take_key()
        name = values.get("name") or f"node{number}"
        cluster = values.get("cluster") or next(iter(self.db["clusters"].rows))
        machine = inventory.add_machine(self.db, "tenant_node", name, cluster, f"tenant_nodes/{key}")
        fixed = {"$key": key, "name": name, "nodeid": number, "machine": machine, "cluster": cluster}
        return self.db["tenant_nodes"].insert({**values, **fixed})

    def _delete_node(self, node: Row, _user: str) -> None:
        if self.power.is_running(node["machine"]):
            raise ApiError(422, "Tenant node must be stopped to delete")
        self.power.cancel(node["machine"])
        inventory.remove_machine(self.db, node["machine"])
        self.db["tenant_nodes"].remove(node["$key"])

    def _delete_tag_category(self, category: Row, user: str) -> None:
        for tag in self.db["tags"].where("category", category["$key"]):
            self._delete_tag(tag, user)
        self.db["tag_categories"].remove(category["$key"])

    def _delete_tag(self, tag: Row, _user: str) -> None:
        for member in self.db["tag_members"].where("tag", tag["$key"]):
            self.db["tag_members"].remove(member["$key"])
        self.db["tags"].remove(tag["$key"])

    def _update_alarm(self, _alarm: Row, values: Values, user: str) -> Values:
        if "snooze" in values:
            values["snoozed_by"] = user if values["snooze"] else ""
        return values
