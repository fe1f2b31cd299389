"""Machines that start, stop, reboot and migrate over time (VergeOS API notes 3.2, 3.7)."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.simulator.clock import Due
from gateway.simulator.figures import noise
from gateway.simulator.journal import Journal
from gateway.simulator.model import Database, Row

INITIALIZING_SECONDS, STARTING_SECONDS, RUNNING_SECONDS = 0.01, 0.15, 0.5
STOPPING_SECONDS = 0.5
KILL_SECONDS = 1.0
HARD_RESET_SECONDS = 0.3
HIBERNATE_SECONDS = 1.5
MIGRATION = ((0.3, "initmigrate"), (0.6, "startmigrate"), (1.0, "migrating"), (2.5, "migratecomplete"))
MIGRATION_SECONDS = 2.8
MIGRATING = frozenset(status for _, status in MIGRATION)

Landed = Callable[[float], None]
Step = tuple[float, Callable[[float], None]]


@dataclass(slots=True)
class Behaviour:
    """How a VM's guest and host treat requests; tests and `/_sim/vms/{key}` set it."""

    guest_seconds: float
    ignores_acpi: bool = False
    hangs_in_stopping: bool = False
    refuses_cpu_change: bool = False
    start_failure: str | None = None
    placement_refused: bool = False
    restore_fails: bool = False
    unreadable_while_restoring_seconds: float = 0.0


class Power:
    """Moves machines through their states; every method returns at once and lets the rest happen later.

    `landed(moment)` is called when the wanted state stands.
    """

    def __init__(self, db: Database, journal: Journal) -> None:
        self.db = db
        self.journal = journal
        self._plans: dict[int, dict[str, list[Due]]] = {}
        self._behaviours: dict[int, Behaviour] = {}
        self.unreadable: set[int] = set()

    def behaviour(self, vm_key: int) -> Behaviour:
        """The behaviour of a VM; by default its guest takes 2 to 8 s to shut down, by seed."""
        found = self._behaviours.get(vm_key)
        if found is None:
            found = self._behaviours[vm_key] = Behaviour(guest_seconds=round(2 + 6 * noise(self.db.seed, vm_key, 5), 2))
        return found

    def status_of(self, machine: int) -> Row:
        """The `machine_status` row of a machine; KeyError if there is no such machine."""
        return self.db["machine_status"].rows[self.db["machines"].rows[machine]["status"]]

    def is_running(self, machine: int | None) -> bool:
        """Whether a machine exists and runs."""
        return (
            machine is not None and machine in self.db["machines"].rows and bool(self.status_of(machine).get("running"))
        )

    def start(
        self,
        machine: int,
        *,
        cores: int,
        ram_mb: int,
        landed: Landed,
        failure: str | None = None,
        preferred_node: int | None = None,
        running_seconds: float = RUNNING_SECONDS,
    ) -> None:
        """Start a machine; where it cannot run it falls back to `stopped`, with the reason only in `machine_logs`."""
        node = self.place(machine, ram_mb, preferred_node)
        reason = failure if node is not None else f"No node has {ram_mb} MB of memory free to start this machine"
        self._change(machine, status="initializing", node=node, running_cores=cores, running_ram=ram_mb)

        def finish(moment: float) -> None:
            if reason is not None:
                self.stopped(machine)
                self.journal.machine_log(machine, reason, level="error")
                return
            self.running(machine, moment)
            landed(moment)

        self._plan(
            machine,
            "power",
            (STARTING_SECONDS, lambda _moment: self._change(machine, status="starting")),
            (running_seconds, finish),
        )

    def shut_down(self, machine: int, guest_seconds: float, *, hangs: bool, landed: Landed) -> None:
        """Let the guest shut down by itself; asking again while it does so changes nothing."""
        if "shutdown" in self._plans.get(machine, {}):
            return

        def stop(moment: float) -> None:
            self.stopped(machine)
            landed(moment)

        stopping_at = max(0.0, guest_seconds - STOPPING_SECONDS)
        steps: list[Step] = [(stopping_at, lambda _moment: self._change(machine, status="stopping"))]
        if not hangs:
            steps.append((guest_seconds, stop))
        self._plan(machine, "shutdown", *steps)

    def kill(self, machine: int, landed: Landed, *, seconds: float = KILL_SECONDS) -> None:
        """Cut the power; whatever else was under way on this machine ends."""
        self.cancel(machine)
        self._change(machine, status="stopping")

        def stop(moment: float) -> None:
            self.stopped(machine)
            landed(moment)

        self._plan(machine, "power", (seconds, stop))

    def reboot(self, machine: int, seconds: float, landed: Landed) -> None:
        """Restart the guest; `status` stays `running`, only `started` changes (VergeOS API notes 4.3).

        A shutdown that was under way is forgotten: the guest that was asked is gone.
        """

        def again(moment: float) -> None:
            self.cancel(machine)
            status = self.status_of(machine)
            # Whole seconds: a reset within the second of the last start must still be seen.
            self._change(machine, status="running", started=max(int(moment), status.get("started", 0) + 1))
            landed(moment)

        self._plan(machine, "reboot", (seconds, again))

    def hibernate(self, machine: int, landed: Landed) -> None:
        """Save the guest's memory and turn the machine off."""
        self._change(machine, status="hibernating")

        def done(moment: float) -> None:
            self.stopped(machine, status="hibernated")
            landed(moment)

        self._plan(machine, "power", (HIBERNATE_SECONDS, done))

    def migrate(self, machine: int, target: int, landed: Landed) -> None:
        """Move a running machine to another node while it runs."""
        steps: list[Step] = [(at, self._migration_step(machine, status, target)) for at, status in MIGRATION]

        def arrive(moment: float) -> None:
            status = self.status_of(machine)
            if status["status"] not in MIGRATING:
                return
            old = status.get("node")
            self._change(machine, status="running", node=target, migrated_node=old, migration_destination=None)
            landed(moment)

        self._plan(machine, "migration", *steps, (MIGRATION_SECONDS, arrive))

    def _migration_step(self, machine: int, status: str, target: int) -> Landed:
        def step(_moment: float) -> None:
            if self.status_of(machine)["status"] in ("running", *MIGRATING):
                self._change(machine, status=status, migration_destination=target)

        return step

    def running(self, machine: int, moment: float) -> None:
        """Put a machine into the running state."""
        started = max(int(moment), self.status_of(machine).get("started", 0) + 1)
        self._change(machine, status="running", running=True, state="online", powerstate=True, started=started)
        self._devices(machine, drive="online", nic="up")
        vm = self.db["vms"].first("machine", machine)
        if vm is not None and vm.get("need_restart"):
            self.db["vms"].change(vm, {"need_restart": False})

    def stopped(self, machine: int, status: str = "stopped") -> None:
        """Put a machine into a state in which it is off; nothing else that was under way will happen."""
        self.cancel(machine)
        self._change(
            machine,
            status=status,
            running=False,
            state="offline",
            powerstate=False,
            node=None,
            running_cores=0,
            running_ram=0,
            migration_destination=None,
        )
        self._devices(machine, drive="offline", nic="down")

    def place(self, machine: int, ram_mb: int, preferred: int | None = None, avoid: int | None = None) -> int | None:
        """The node on which a machine of this size may run: the preferred one if it fits, else the emptiest."""
        cluster = self.db["machines"].rows[machine].get("cluster")
        free_mb: dict[int, int] = {
            node["$key"]: self._free_mb(node) for node in self.db["nodes"].where("cluster", cluster)
        }
        fitting = {key: free for key, free in free_mb.items() if key != avoid and free >= ram_mb}
        if preferred in fitting:
            return preferred
        return max(fitting, key=lambda key: fitting[key], default=None)

    def _free_mb(self, node: Row) -> int:
        status = self.status_of(node["machine"])
        if not status.get("running") or node.get("maintenance"):
            return -1
        given: int = sum(row.get("running_ram", 0) for row in self.db["machine_status"].where("node", node["$key"]))
        return int(node["vm_ram"]) - given

    def cancel(self, machine: int) -> None:
        """Drop everything that was still to happen to a machine."""
        for plan in self._plans.pop(machine, {}).values():
            for due in plan:
                due.cancelled = True

    def busy(self, machine: int) -> bool:
        """Whether something is still to happen to this machine."""
        return bool(self._plans.get(machine))

    def _plan(self, machine: int, kind: str, *steps: Step) -> None:
        plans = self._plans.setdefault(machine, {})
        for due in plans.pop(kind, []):
            due.cancelled = True
        last = len(steps) - 1

        def stepper(position: int, step: Callable[[float], None]) -> Callable[[float], None]:
            def run(moment: float) -> None:
                if position == last:
                    self._plans.get(machine, {}).pop(kind, None)
                step(moment)

            return run

        plans[kind] = [self.db.clock.after(at, stepper(position, step)) for position, (at, step) in enumerate(steps)]

    def _change(self, machine: int, **changes: object) -> None:
        changes["last_update"] = int(self.db.now())
        self.db["machine_status"].change(self.status_of(machine), changes)

    def _devices(self, machine: int, *, drive: str, nic: str) -> None:
        for row in self.db["machine_drives"].where("machine", machine):
            self.db["machine_drive_status"].change(
                self.db["machine_drive_status"].rows[row["status"]], {"status": drive}
            )
        for row in self.db["machine_nics"].where("machine", machine):
            self.db["machine_nic_status"].change(self.db["machine_nic_status"].rows[row["status"]], {"status": nic})
