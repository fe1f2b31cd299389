"""Figures worked out at each read (load, counters, guest data) from seed, row and time."""

import math
from typing import Any

from gateway.simulator.model import Computed, Database, Row

GUEST_AGENT_REFRESH_SECONDS = 30
_OPERATING_SYSTEMS = {
    "linux": {"id": "debian", "pretty-name": "Debian GNU/Linux 12 (bookworm)", "kernel-release": "6.1.0-28-amd64"},
    "windows": {"id": "mswindows", "pretty-name": "Windows Server 2025 Standard", "version-id": "2025"},
}


def noise(seed: int, key: int, salt: int = 0) -> float:
    """A repeatable number from 0 to 1 for a row."""
    mixed = (key * 2_654_435_761 + seed * 40_503 + salt * 97_531 + 12_345) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    mixed = (mixed * 2_246_822_519) & 0xFFFFFFFF
    mixed ^= mixed >> 13
    return mixed / 0xFFFFFFFF


def wave(db: Database, key: int, salt: int = 0) -> float:
    """A repeatable number between 0 and 1 that moves slowly (period about five minutes)."""
    base = 0.15 + 0.7 * noise(db.seed, key, salt)
    return base + 0.1 * math.sin(db.now() / 48 + base * 6.283)


def whole_now(db: Database, _row: Row) -> int:
    """The moment in whole Unix seconds."""
    return int(db.now())


def used_pct(_db: Database, row: Row) -> int:
    """How full a tier is, in percent."""
    return round(100 * row.get("used", 0) / row["capacity"]) if row.get("capacity") else 0


def _status(db: Database, row: Row) -> Row | None:
    machine = db["machines"].rows.get(row.get("machine"))
    return None if machine is None else db["machine_status"].rows.get(machine.get("status"))


def _running(db: Database, row: Row) -> bool:
    status = _status(db, row)
    return status is not None and bool(status.get("running"))


def cpu_share(share: float) -> Computed:
    """A part of the machine's CPU load in percent; 0 while it is off."""

    def column(db: Database, row: Row) -> float:
        return round(80 * share * wave(db, row["machine"], 1), 1) if _running(db, row) else 0

    return column


def past_level(top: int) -> Computed:
    """A point of a time series between 0 and `top`, fixed by machine and time."""

    def column(db: Database, row: Row) -> float:
        base = noise(db.seed, row["machine"], top)
        return round(top * (0.2 + 0.6 * base + 0.2 * noise(db.seed, row["timestamp"] // 300, top)), 1)

    return column


def _total_ram_mb(db: Database, row: Row) -> int:
    node = db["nodes"].first("machine", row["machine"])
    if node is not None:
        return int(node["ram"])
    status = _status(db, row)
    return 0 if status is None else int(status.get("running_ram", 0))


def ram_used_mb(db: Database, row: Row) -> int:
    """RAM in use in MB; a node's follows from the VMs that run on it."""
    node = db["nodes"].first("machine", row["machine"])
    if node is not None:
        on_it = sum(each.get("running_ram", 0) for each in db["machine_status"].where("node", node["$key"]))
        return int(8192 + 0.8 * on_it)
    return int(_total_ram_mb(db, row) * (0.3 + 0.6 * wave(db, row["machine"], 2))) if _running(db, row) else 0


def ram_pct(db: Database, row: Row) -> float:
    """RAM in use in percent."""
    total = _total_ram_mb(db, row)
    return round(100 * ram_used_mb(db, row) / total, 1) if total else 0


def running_cores(db: Database, row: Row) -> int:
    """Cores in use."""
    status = _status(db, row)
    return 0 if status is None else int(status.get("running_cores", 0))


def core_usage(db: Database, row: Row) -> Any:
    """Load per core: a list, or for every third machine the same as a JSON string."""
    cores = min(running_cores(db, row), 8)
    loads = [round(100 * wave(db, row["machine"], 10 + core)) for core in range(cores)]
    return str(loads) if row["machine"] % 3 == 0 else loads


def core_temp(db: Database, row: Row) -> int:
    """Temperature in degrees Celsius; 0 for what is not a node."""
    if db["nodes"].first("machine", row["machine"]) is None:
        return 0
    return int(38 + 20 * wave(db, row["machine"], 3))


def counter(per_second: int) -> Computed:
    """A counter that grows with time at the row's own pace."""

    def column(db: Database, row: Row) -> int:
        pace = per_second * (0.1 + noise(db.seed, row["$key"], per_second))
        return int(pace * (db.now() - db.started_at + 86_400 * 30))

    return column


def rate(top: int) -> Computed:
    """A figure that moves between 0 and `top`."""

    def column(db: Database, row: Row) -> int:
        return int(top * wave(db, row["$key"], top))

    return column


def guest_info(db: Database, row: Row) -> Any:
    """What the guest agent tells: `[]` without an agent; odd machines use maps (VergeOS API notes 3.2)."""
    vm = db["vms"].first("machine", row["machine"])
    if vm is None or not vm.get("guest_agent") or not row.get("running"):
        return []
    nics = [
        _guest_nic(nic, position) for position, nic in enumerate(db["machine_nics"].where("machine", row["machine"]))
    ]
    disks = [{"mountpoint": "/", "total-bytes": 34_359_738_368, "used-bytes": 9_663_676_416, "type": "ext4"}]
    as_map = row["machine"] % 2 == 1
    ram_mb = int(row.get("running_ram", 0))
    return {
        "osinfo": _OPERATING_SYSTEMS.get(vm.get("os_family", "linux"), {}),
        "network": {str(index): nic for index, nic in enumerate(nics)} if as_map else nics,
        "fsinfo": {"0": disks[0]} if as_map else disks,
        "meminfo": {"ram_total": ram_mb, "ram_used": ram_mb * 2 // 5},
        "hostname": vm["name"],
        "last_refresh": int(db.now() // GUEST_AGENT_REFRESH_SECONDS * GUEST_AGENT_REFRESH_SECONDS),
    }


def _guest_nic(nic: Row, position: int) -> dict[str, Any]:
    addresses = [{"ip-address-type": "ipv6", "ip-address": f"fe80::{nic['$key']:x}", "prefix": 64}]
    if nic.get("ipaddress"):
        addresses.insert(0, {"ip-address-type": "ipv4", "ip-address": nic["ipaddress"], "prefix": 24})
    return {"name": f"ens{18 + position}", "hardware-address": nic.get("macaddress", ""), "ip-addresses": addresses}
