"""Handles on simulated VMs for tests: what they are, how they behave, and changes from outside the gateway."""

import uuid

from gateway.simulator import inventory
from gateway.simulator.journal import Action
from gateway.simulator.model import Row
from gateway.simulator.world import World


class VmHandle:
    """One VM of a running simulator. Properties read the present; methods change it and return the handle."""

    def __init__(self, world: World, key: int) -> None:
        self._world = world
        self.key = key

    @property
    def row(self) -> Row:
        """The `vms` row; KeyError if the VM is gone."""
        self._world.db.clock.settle()
        return self._world.db["vms"].rows[self.key]

    @property
    def machine_key(self) -> int:
        """The machine key: another number than the VM key."""
        return int(self.row["machine"])

    @property
    def name(self) -> str:
        """The name."""
        return str(self.row["name"])

    @property
    def uuid(self) -> str:
        """The UUID."""
        return str(self.row["uuid"])

    @property
    def cpu_cores(self) -> int:
        """Cores as written in the VM's settings."""
        return int(self.row.get("cpu_cores", 1))

    @property
    def ram_mb(self) -> int:
        """RAM as written in the VM's settings."""
        return int(self.row.get("ram", 1024))

    @property
    def need_restart(self) -> bool:
        """Whether a change waits for a power cycle."""
        return bool(self.row.get("need_restart"))

    @property
    def status_row(self) -> Row:
        """The machine's `machine_status` row."""
        return self._world.power.status_of(self.machine_key)

    @property
    def running(self) -> bool:
        """Whether the VM runs."""
        return bool(self.status_row.get("running"))

    @property
    def status(self) -> str:
        """The status word, such as `stopping`."""
        return str(self.status_row.get("status", "stopped"))

    @property
    def started(self) -> int:
        """When the VM started (Unix seconds)."""
        return int(self.status_row.get("started", 0))

    @property
    def node(self) -> int | None:
        """The node it runs on."""
        return self.status_row.get("node")

    @property
    def guest_seconds(self) -> float:
        """How long the guest takes to shut down or reboot, before the time scale."""
        return self._world.power.behaviour(self.key).guest_seconds

    @guest_seconds.setter
    def guest_seconds(self, seconds: float) -> None:
        self._world.power.behaviour(self.key).guest_seconds = seconds

    def ignore_acpi(self, ignore: bool = True) -> "VmHandle":
        """The guest ignores ACPI: graceful power-off and reset never do anything."""
        self._world.power.behaviour(self.key).ignores_acpi = ignore
        return self

    def fail_to_start(self, reason: str | None = "Unable to start machine: disk image is locked") -> "VmHandle":
        """Starting is accepted and falls back to `stopped`, with the reason in `machine_logs`; None ends it."""
        self._world.power.behaviour(self.key).start_failure = reason
        return self

    def hang_in_stopping(self, hang: bool = True) -> "VmHandle":
        """A graceful power-off gets as far as `stopping` and stays there until a kill."""
        self._world.power.behaviour(self.key).hangs_in_stopping = hang
        return self

    def refuse_cpu_change(self, refuse: bool = True) -> "VmHandle":
        """A change of cores while running answers 422."""
        self._world.power.behaviour(self.key).refuses_cpu_change = refuse
        return self

    def refuse_placement(self, refuse: bool = True) -> "VmHandle":
        """No node takes the VM: starting falls back to `stopped`."""
        self._world.power.behaviour(self.key).placement_refused = refuse
        return self

    def fail_to_restore(self, fail: bool = True) -> "VmHandle":
        """Restoring from a snapshot answers 500."""
        self._world.power.behaviour(self.key).restore_fails = fail
        return self

    def unreadable_while_restoring(self, seconds: float) -> "VmHandle":
        """While it is restored the VM's row answers 404 for this long, before the time scale."""
        self._world.power.behaviour(self.key).unreadable_while_restoring_seconds = seconds
        return self

    def forbid_migration(self, forbid: bool = True) -> "VmHandle":
        """The VM cannot be migrated."""
        self._world.db["machine_status"].change(self.status_row, {"migratable": not forbid})
        return self

    def rename(self, name: str) -> "VmHandle":
        """Rename as if in the UI, without any check: names may so become duplicates."""
        self._world.db["vms"].change(self.row, {"name": name})
        self._world.db["machines"].change(self._world.db["machines"].rows[self.machine_key], {"name": name})
        self._log("Changed name")
        return self

    def start(self) -> "VmHandle":
        """Someone else starts the VM: it runs at once."""
        world, row = self._world, self.row
        if not self.running:
            node = world.power.place(row["machine"], self.ram_mb)
            changes = {"node": node, "running_cores": self.cpu_cores, "running_ram": self.ram_mb}
            world.power.cancel(row["machine"])
            world.db["machine_status"].change(self.status_row, changes)
            world.power.running(row["machine"], world.db.now())
            self._log("'poweron' was requested")
        return self

    def stop(self) -> "VmHandle":
        """Someone else stops the VM: it is off at once."""
        self._world.power.stopped(self.machine_key)
        self._log("'kill' was requested")
        return self

    def replace_machine(self) -> "VmHandle":
        """The VM is deleted and made anew under the same key and name: other machine, other UUID, stopped."""
        world, row = self._world, self.row
        old = row["machine"]
        world.power.cancel(old)
        cluster = world.db["machines"].rows[old].get("cluster")
        new = inventory.add_machine(world.db, "vm", row["name"], cluster, f"vms/{self.key}")
        inventory.copy_devices(world.db, old, new, keep_macs=False)
        for snapshot in world.db["machine_snapshots"].where("machine", old):
            inventory.remove_snapshot(world.db, snapshot)
        world.db["vms"].change(row, {"machine": new, "uuid": str(uuid.uuid4()), "created": int(world.db.now())})
        inventory.remove_machine(world.db, old)
        return self

    def delete(self) -> None:
        """Someone else deletes the VM, running or not."""
        self._world.power.cancel(self.machine_key)
        inventory.remove_vm(self._world.db, self.row)

    def snapshot(self, name: str) -> int:
        """Someone else takes a VM snapshot that never expires; returns its `machine_snapshots` key."""
        values = {"name": name, "created": int(self._world.db.now()), "expires": 0}
        return int(inventory.add_snapshot(self._world.db, self.row, values)["$key"])

    def power_actions(self) -> list[str]:
        """The `vm_actions` asked for on this VM, in order, refused ones included."""
        return power_actions(self._world.journal.actions, self.key)

    def _log(self, text: str) -> None:
        self._world.journal.log(text, object_type="vm", object_name=self.name, user="ui-user", machine=self.machine_key)


def power_actions(actions: list[Action], vm_key: int) -> list[str]:
    """The names of the `vm_actions` on a VM, in order, refused ones included."""
    return [action.action for action in actions if action.table == "vm_actions" and action.key == vm_key]
