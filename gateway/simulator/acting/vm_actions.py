"""What `POST vm_actions` does (VergeOS API notes 3.7, 4.1-4.10)."""

import time
from collections.abc import Callable
from typing import Any

from gateway.simulator import inventory
from gateway.simulator.acting.power import HARD_RESET_SECONDS, Behaviour, Power
from gateway.simulator.errors import ApiError, not_found
from gateway.simulator.journal import Action
from gateway.simulator.model import Database, Row

Params = dict[str, Any]
HOT_PLUG_SECONDS = 0.5
RESTORE_SECONDS = 0.3


class VmActions:
    """One method per action; each checks, begins what takes time, and returns the receipt's `response` or None.

    All of them raise `ApiError` where VergeOS refuses.
    """

    def __init__(self, db: Database, power: Power) -> None:
        self.db = db
        self.power = power
        self.table: dict[str, Callable[[Row, Params, Action], Params | None]] = {
            "poweron": self.poweron,
            "poweroff": self.poweroff,
            "kill": self.kill,
            "reset": self.reset,
            "hibernate": self.hibernate,
            "migrate": self.migrate,
            "move": self.migrate,
            "clone": self.clone,
            "restore": self.restore,
            "hotplugdrive": self.hotplugdrive,
            "hotplugnic": self.hotplugnic,
            "changecd": self.changecd,
            "changenet": self.changenet,
            "quiesce_snapshot": self.nothing,
            "paste": self.nothing,
            "refresh": self.nothing,
            "recover_cloudsnapshot": self.nothing,
            "execute": self.nothing,
            "fsync_strict": self.nothing,
            "erase_drive": self.nothing,
        }

    def _status(self, vm: Row) -> Row:
        return self.power.status_of(vm["machine"])

    def _behaviour(self, vm: Row) -> Behaviour:
        return self.power.behaviour(vm["$key"])

    def _require_running(self, vm: Row) -> Row:
        status = self._status(vm)
        if not status.get("running"):
            raise ApiError(422, f"Machine is not running, its status is '{status.get('status', 'stopped')}'")
        return status

    def nothing(self, _vm: Row, _params: Params, action: Action) -> None:
        """An action that is accepted and changes nothing that rows show."""
        action.effect_at = self.db.now()

    def poweron(self, vm: Row, params: Params, action: Action) -> None:
        """Start; a failed start or refused placement is accepted and falls back to `stopped`."""
        if vm.get("is_snapshot"):
            raise ApiError(422, "Cannot power on a snapshot")
        if not vm.get("enabled", True):
            raise ApiError(422, "Error powering on machine: Virtual Machine is disabled")
        status = self._status(vm).get("status", "stopped")
        if status not in ("stopped", "hibernated"):
            raise ApiError(422, f"Error powering on machine: Machine is already running with status '{status}'")
        behaviour = self._behaviour(vm)
        failure = behaviour.start_failure
        if behaviour.placement_refused:
            failure = "Unable to place machine: no node satisfies the placement rules"
        self.power.start(
            vm["machine"],
            cores=vm.get("cpu_cores", 1),
            ram_mb=vm.get("ram", 1024),
            landed=action.lands,
            failure=failure,
            preferred_node=_node_key(params.get("preferred_node")),
        )

    def poweroff(self, vm: Row, _params: Params, action: Action) -> None:
        """Press the ACPI button; what follows is the guest's affair."""
        self._require_running(vm)
        behaviour = self._behaviour(vm)
        if not behaviour.ignores_acpi:
            self.power.shut_down(
                vm["machine"], behaviour.guest_seconds, hangs=behaviour.hangs_in_stopping, landed=action.lands
            )

    def kill(self, vm: Row, _params: Params, action: Action) -> None:
        """Cut the power."""
        status = self._status(vm).get("status", "stopped")
        if status in ("stopped", "hibernated"):
            raise ApiError(422, f"Machine is not running, its status is '{status}'")
        self.power.kill(vm["machine"], action.lands)

    def reset(self, vm: Row, params: Params, action: Action) -> None:
        """Reset; with `graceful` the guest reboots by itself, if it listens to ACPI."""
        self._require_running(vm)
        behaviour = self._behaviour(vm)
        if not params.get("graceful"):
            self.power.reboot(vm["machine"], HARD_RESET_SECONDS, action.lands)
        elif not behaviour.ignores_acpi and not behaviour.hangs_in_stopping:
            self.power.reboot(vm["machine"], behaviour.guest_seconds, action.lands)

    def hibernate(self, vm: Row, _params: Params, action: Action) -> None:
        """Save the memory and stop."""
        self._require_running(vm)
        self.power.hibernate(vm["machine"], action.lands)

    def migrate(self, vm: Row, params: Params, action: Action) -> None:
        """Move to another node while running."""
        status = self._require_running(vm)
        if not status.get("migratable", True):
            raise ApiError(422, "Machine is not migratable")
        wanted = _node_key(params.get("preferred_node") or params.get("node"))
        target = self.power.place(vm["machine"], vm.get("ram", 1024), wanted, avoid=status.get("node"))
        if target is None or (wanted is not None and target != wanted):
            raise ApiError(422, "No suitable node was found to migrate to")
        self.power.migrate(vm["machine"], target, action.lands)

    def clone(self, vm: Row, params: Params, action: Action) -> Params:
        """Copy to a new VM; from a snapshot's hidden VM this is a restore to a new VM."""
        name = str(params.get("name") or f"{vm['name']}_{int(time.time())}")
        if any(not row.get("is_snapshot") for row in self.db["vms"].where("name", name)):
            raise ApiError(409, "This name is already in use")
        copy = inventory.copy_vm(
            self.db, vm, name, is_snapshot=False, keep_macs=bool(params.get("preserve_macs", False))
        )
        action.effect_at = self.db.now()
        machine = self.db["machines"].rows[copy["machine"]]
        return {
            "vmkey": str(copy["$key"]),
            "machinekey": str(machine["$key"]),
            "machinestatuskey": str(machine["status"]),
            "clusterkey": str(machine.get("cluster")),
        }

    def restore(self, vm: Row, params: Params, action: Action) -> None:
        """Restore the VM that a snapshot's hidden VM was taken of; any other VM key is refused (4.8)."""
        if params.get("name"):
            raise ApiError(422, "Error getting destination VM during clone")
        snapshot = self.db["machine_snapshots"].first("snap_machine", vm["machine"])
        if not vm.get("is_snapshot") or snapshot is None:
            raise ApiError(422, "Virtual Machine is not a snapshot")
        target = self.db["vms"].first("machine", snapshot["machine"])
        if target is None:
            raise not_found("Virtual Machine of this snapshot")
        if self._status(target).get("status", "stopped") not in ("stopped", "hibernated"):
            raise ApiError(422, "Virtual Machine must be stopped to restore")
        behaviour = self._behaviour(target)
        if behaviour.restore_fails:
            raise ApiError(500, "Error restoring Virtual Machine")
        power_on = bool(params.get("poweron"))

        def land(moment: float) -> None:
            if target["$key"] not in self.db["vms"].rows or vm["$key"] not in self.db["vms"].rows:
                return
            inventory.restore_from(self.db, target, vm)
            self.power.unreadable.discard(target["$key"])
            action.effect_at = moment
            if power_on:
                self.poweron(target, {}, Action(moment, "vm_actions", target["$key"], target["name"], "poweron"))

        if behaviour.unreadable_while_restoring_seconds > 0:
            self.power.unreadable.add(target["$key"])
            self.db.clock.after(behaviour.unreadable_while_restoring_seconds, land)
        else:
            self.db.clock.after(RESTORE_SECONDS, land)

    def hotplugdrive(self, vm: Row, params: Params, action: Action) -> None:
        """Attach or, with `unplug`, detach a drive of a running VM (4.5)."""
        drive = self._own_device("machine_drives", vm, params)
        if drive.get("media", "disk") != "disk" or drive.get("interface", "virtio-scsi") not in (
            "virtio",
            "virtio-scsi",
        ):
            raise ApiError(422, "Only disk drives on virtio or virtio-scsi can be hot-plugged")
        self._plug(vm, "machine_drive_status", drive, "offline" if params.get("unplug") else "online", action)

    def hotplugnic(self, vm: Row, params: Params, action: Action) -> None:
        """Attach or, with `unplug`, detach a NIC of a running VM."""
        nic = self._own_device("machine_nics", vm, params)
        self._plug(vm, "machine_nic_status", nic, "down" if params.get("unplug") else "up", action)

    def _own_device(self, table: str, vm: Row, params: Params) -> Row:
        device = self.db[table].get(params.get("device"))
        if device is None or device["machine"] != vm["machine"]:
            raise not_found("Device")
        return device

    def _plug(self, vm: Row, table: str, device: Row, status: str, action: Action) -> None:
        self._require_running(vm)
        if not vm.get("allow_hotplug", True):
            raise ApiError(422, "Hotplug is not allowed for this machine")

        def land(moment: float) -> None:
            row = self.db[table].get(device["status"])
            if row is not None and self._status(vm).get("running"):
                self.db[table].change(row, {"status": status})
                action.effect_at = moment

        self.db.clock.after(HOT_PLUG_SECONDS, land)

    def changecd(self, vm: Row, params: Params, action: Action) -> None:
        """Put another file into a CD drive."""
        drive = self._own_device("machine_drives", vm, {"device": params.get("drive")})
        if self.db["files"].get(params.get("media")) is None:
            raise not_found("File")
        self.db["machine_drives"].change(drive, {"media_source": int(params["media"])})
        action.effect_at = self.db.now()

    def changenet(self, vm: Row, params: Params, action: Action) -> None:
        """Connect a NIC to another network."""
        nic = self._own_device("machine_nics", vm, {"device": params.get("nic")})
        if self.db["vnets"].get(params.get("network")) is None:
            raise not_found("Network")
        self.db["machine_nics"].change(nic, {"vnet": int(params["network"])})
        action.effect_at = self.db.now()


def _node_key(value: Any) -> int | None:
    """A node's key from an action's parameters, where ints and text are used alike; None for "any"."""
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else None
