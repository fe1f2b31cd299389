"""Rules for writing VMs and VM snapshots (VergeOS API notes 3.1, 3.6, 3.8)."""

import uuid
from typing import Any

from gateway.simulator import inventory
from gateway.simulator.acting.power import Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Journal
from gateway.simulator.model import Database, Row
from gateway.simulator.writing.rules import Created, TableRules, Values

RAM_STEP_MB = 256
SNAPSHOT_DELETE_SECONDS = 1.0
DEFAULT_SNAPSHOT_SECONDS = 72 * 3600  # the platform's own choice when nobody says (VergeOS API notes 3.6)
_NEEDS_RESTART = frozenset({"cpu_cores", "ram", "cpu_type", "machine_type", "uefi", "nested_virtualization", "video"})


class VmRules:
    """Creating, changing and deleting VMs and their snapshots."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.power = power
        self.journal = journal

    def tables(self) -> dict[str, TableRules]:
        """The rules by table."""
        return {
            "vms": TableRules(self._create_vm, self._update_vm, self._delete_vm),
            "machine_snapshots": TableRules(create=self._create_snapshot, delete=self._delete_snapshot),
        }

    def _create_vm(self, values: Values, _arguments: Values, user: str) -> Created:
        if not values.get("name"):
            raise ApiError(422, "Validation error on field: 'name' - 'fails validation test'")
        values.setdefault("cluster", next(iter(self.db["clusters"].rows)))
        self._within_cluster_limits(values["cluster"], values)
        _floor_ram(values)
        _expand_machine_type(values)
        key = self.db["vms"].take_key()
        machine = inventory.add_machine(self.db, "vm", values["name"], values["cluster"], f"vms/{key}")
        vm = self.db["vms"].insert({"$key": key, "machine": machine, **values, "uuid": str(uuid.uuid4())})
        self.journal.log("VM was created", object_type="vm", object_name=vm["name"], user=user, machine=machine)
        return vm, {"machine": str(machine)}

    def _update_vm(self, vm: Row, values: Values, _user: str) -> Values:
        self._within_cluster_limits(vm.get("cluster"), values)
        _floor_ram(values)
        _expand_machine_type(values)
        schema = self.db["vms"]
        changed = {name for name, value in values.items() if self.db.value(schema, vm, name) != value}
        if self.power.is_running(vm["machine"]):
            if "cpu_cores" in changed and self.power.behaviour(vm["$key"]).refuses_cpu_change:
                raise ApiError(422, "Cannot modify CPU cores while VM is running")
            if changed & _NEEDS_RESTART:
                values["need_restart"] = True
        if "name" in changed:
            self.db["machines"].change(self.db["machines"].rows[vm["machine"]], {"name": values["name"]})
        return values

    def _within_cluster_limits(self, cluster: Any, values: Values) -> None:
        row = self.db["clusters"].get(cluster)
        if row is None:
            return
        clusters = self.db["clusters"]
        most_cores = self.db.value(clusters, row, "max_cores_per_vm")
        most_ram_mb = self.db.value(clusters, row, "max_ram_per_vm")
        if values.get("cpu_cores", 0) > most_cores:
            raise ApiError(422, f"Cores exceed the maximum cores per machine for this cluster ({most_cores})")
        if values.get("ram", 0) > most_ram_mb:
            raise ApiError(422, f"RAM exceeds the maximum RAM per machine for this cluster ({most_ram_mb} MB)")

    def _delete_vm(self, vm: Row, user: str) -> None:
        if self.power.status_of(vm["machine"]).get("status", "stopped") not in ("stopped", "hibernated"):
            raise ApiError(422, "Virtual Machine must be stopped to delete")
        self.power.cancel(vm["machine"])
        inventory.remove_vm(self.db, vm)
        self.journal.log("VM was deleted", object_type="vm", object_name=vm["name"], user=user)

    def _create_snapshot(self, values: Values, arguments: Values, user: str) -> Created:
        vm = self.db["vms"].first("machine", values.get("machine"))
        if vm is None:
            raise ApiError(404, "error setting field 'machine': No such file or directory")
        if not values.get("name"):
            raise ApiError(422, "Validation error on field: 'name' - 'fails validation test'")
        if arguments.get("expires_type") == "never":
            values["expires"] = 0
        else:
            values.setdefault("expires", int(self.db.now()) + DEFAULT_SNAPSHOT_SECONDS)
        quiesce = bool(arguments.get("quiesce"))
        values["quiesced"] = quiesce and bool(vm.get("guest_agent")) and self.power.is_running(vm["machine"])
        snapshot = inventory.add_snapshot(self.db, vm, values)
        self._log_vm(vm, f"Snapshot '{values['name']}' was created", user)
        return snapshot, None

    def _delete_snapshot(self, snapshot: Row, user: str) -> None:
        """Deleting is asynchronous: first `queue_delete`, then the row goes (VergeOS API notes 4.7)."""
        self.db["machine_snapshots"].change(snapshot, {"queue_delete": True})
        self.db.clock.after(SNAPSHOT_DELETE_SECONDS, lambda _moment: self._remove_snapshot(snapshot["$key"]))
        vm = self.db["vms"].first("machine", snapshot["machine"])
        if vm is not None:
            self._log_vm(vm, f"Snapshot '{snapshot['name']}' was queued for deletion", user)

    def _remove_snapshot(self, key: int) -> None:
        snapshot = self.db["machine_snapshots"].get(key)
        if snapshot is not None:
            inventory.remove_snapshot(self.db, snapshot)

    def _log_vm(self, vm: Row, text: str, user: str) -> None:
        self.journal.log(text, object_type="vm", object_name=vm["name"], user=user, machine=vm["machine"])


def _floor_ram(values: Values) -> None:
    """RAM comes in steps of 256 MB and is rounded down (VergeOS API notes 3.1)."""
    if "ram" in values:
        values["ram"] = values["ram"] // RAM_STEP_MB * RAM_STEP_MB


def _expand_machine_type(values: Values) -> None:
    """Short machine types are stored in their versioned form (VergeOS API notes 3.1)."""
    versioned = {"pc": "pc-i440fx-10.0", "q35": "pc-q35-10.0"}
    if values.get("machine_type") in versioned:
        values["machine_type"] = versioned[values["machine_type"]]
