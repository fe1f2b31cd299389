"""Rules for writing drives and NICs (VergeOS API notes 3.4, 3.5)."""

import uuid

from gateway.simulator import inventory
from gateway.simulator.acting.power import Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Journal
from gateway.simulator.model import Database, Row
from gateway.simulator.writing.rules import Created, TableRules, Values


class DeviceRules:
    """Creating, changing and deleting the drives and NICs of any machine."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.power = power
        self.journal = journal

    def tables(self) -> dict[str, TableRules]:
        """The rules by table."""
        return {
            "machine_drives": TableRules(self._create_drive, self._update_drive, self._delete_drive),
            "machine_nics": TableRules(self._create_nic, self._update_nic, self._delete_nic),
        }

    def _create_drive(self, values: Values, _arguments: Values, user: str) -> Created:
        machine = self._machine_of(values)
        media = values.get("media", "disk")
        if media == "disk" and not values.get("disksize"):
            raise ApiError(422, "Validation error on field: 'disksize' - 'fails validation test'")
        if media == "efidisk" and "disksize" in values:
            raise ApiError(422, "Validation error on field: 'disksize' - 'fails validation test'")
        drives = self.db["machine_drives"].where("machine", machine)
        values.setdefault("orderid", len(drives))
        values.setdefault("name", f"drive_{len(drives)}")
        values["uuid"] = str(uuid.uuid4())
        # On a running VM the row is there but not attached until `hotplugdrive` (VergeOS API notes 3.4).
        drive = inventory.add_drive(self.db, machine, _without_machine(values))
        self._log_machine(machine, f"Drive '{drive['name']}' was created", user)
        return drive, None

    def _update_drive(self, drive: Row, values: Values, user: str) -> Values:
        media = self.db.value(self.db["machine_drives"], drive, "media")
        if values.get("media", media) != media:
            raise ApiError(422, "field 'media' is readonly")
        if values.get("disksize", drive.get("disksize", 0)) < drive.get("disksize", 0):
            raise ApiError(422, "Validation error on field: 'disksize' - 'Drive size cannot be reduced'")
        if "disksize" in values:
            self._log_machine(drive["machine"], f"Drive '{drive.get('name', '')}' was changed", user)
        return values

    def _delete_drive(self, drive: Row, user: str) -> None:
        status = self.db["machine_drive_status"].rows[drive["status"]]
        if self.power.is_running(drive["machine"]) and status.get("status") == "online":
            raise ApiError(422, "Drive is in use; unplug it or stop the machine first")
        inventory.remove_drive(self.db, drive)
        self._log_machine(drive["machine"], f"Drive '{drive.get('name', '')}' was deleted", user)

    def _create_nic(self, values: Values, _arguments: Values, user: str) -> Created:
        machine = self._machine_of(values)
        nics = self.db["machine_nics"].where("machine", machine)
        values.setdefault("orderid", len(nics))
        values.setdefault("name", f"nic_{len(nics)}")
        _lower_mac(values)
        nic = inventory.add_nic(self.db, machine, _without_machine(values))
        self._log_machine(machine, f"NIC '{nic['name']}' was created", user)
        return nic, None

    def _update_nic(self, _nic: Row, values: Values, _user: str) -> Values:
        _lower_mac(values)
        return values

    def _delete_nic(self, nic: Row, user: str) -> None:
        inventory.remove_nic(self.db, nic)
        self._log_machine(nic["machine"], f"NIC '{nic.get('name', '')}' was deleted", user)

    def _machine_of(self, values: Values) -> int:
        machine = values.get("machine")
        if not isinstance(machine, int):
            raise ApiError(422, "Validation error on field: 'machine' - 'fails validation test'")
        return machine

    def _log_machine(self, machine: int, text: str, user: str) -> None:
        row = self.db["machines"].get(machine) or {}
        kind = {"vnet": "vnet", "node": "node", "tenant_node": "tenant"}.get(str(row.get("type")), "vm")
        name = str(row.get("name", ""))
        self.journal.log(text, object_type=kind, object_name=name, user=user, machine=machine)


def _without_machine(values: Values) -> Values:
    return {column: value for column, value in values.items() if column != "machine"}


def _lower_mac(values: Values) -> None:
    """MAC addresses are stored in lower case with colons (VergeOS API notes 3.5)."""
    if values.get("macaddress"):
        values["macaddress"] = values["macaddress"].lower().replace("-", ":")
