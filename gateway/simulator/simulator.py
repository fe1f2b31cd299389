"""The simulator as a program and as a test fixture."""

import asyncio
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gateway.simulator.auth import Account
from gateway.simulator.control import Control
from gateway.simulator.faults import Fault, FaultKind
from gateway.simulator.handles import VmHandle, power_actions
from gateway.simulator.journal import Action
from gateway.simulator.server import Server
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.world import World, build_world


class Simulator:
    """A VergeOS that is not there, served over real HTTP.

    An async context manager: the server listens inside it. All else may be used from the same event loop at any time.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.world: World = build_world(self.settings)
        self._server = Server(self.world, self.settings, Control(self))
        self.url = ""

    async def __aenter__(self) -> "Simulator":
        self.url = await self._server.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()

    # What happened

    @property
    def actions(self) -> list[Action]:
        """Every write that reached the API, oldest first; see `Action`."""
        self.world.db.clock.settle()
        return self.world.journal.actions

    def power_actions(self, vm_key: int) -> list[str]:
        """The `vm_actions` asked for on a VM, in order, refused ones included: `["poweroff", "kill"]`."""
        return power_actions(self.actions, vm_key)

    @property
    def requests(self) -> Counter[str]:
        """API requests by method and table: `GET machine_status`; those that met a fault are counted too."""
        return self._server.requests

    @property
    def bytes_sent(self) -> Counter[str]:
        """Bytes of the answers' bodies, by the same keys."""
        return self._server.bytes_sent

    @property
    def connections(self) -> int:
        """TCP connections accepted."""
        return self._server.connections

    def reset_counts(self) -> None:
        """Forget requests, bytes, connections and actions."""
        self._server.requests.clear()
        self._server.bytes_sent.clear()
        self._server.connections = 0
        self.world.journal.actions.clear()

    def state(self) -> dict[str, Any]:
        """A summary: size, running VMs, faults in force, whether down or revoked."""
        self.world.db.clock.settle()
        vms = [row for row in self.world.db["vms"] if not row.get("is_snapshot")]
        return {
            "url": self.url,
            "vms": len(vms),
            "running": sum(1 for row in vms if self.world.power.is_running(row["machine"])),
            "snapshots": len(self.world.db["machine_snapshots"]),
            "nodes": len(self.world.db["nodes"]),
            "down": self.down,
            "revoked": self.world.accounts.revoked,
            "faults": [fault.as_dict() for fault in self.faults],
            "actions": len(self.world.journal.actions),
            "requests": self.requests.total(),
        }

    # VMs

    def vm(self, name_or_key: str | int) -> VmHandle:
        """A handle on a VM by key (int) or exact name (str); KeyError if there is none."""
        self.world.db.clock.settle()
        table = self.world.db["vms"]
        if isinstance(name_or_key, int):
            return VmHandle(self.world, table.rows[name_or_key]["$key"])
        for row in table.where("name", name_or_key):
            if not row.get("is_snapshot"):
                return VmHandle(self.world, row["$key"])
        raise KeyError(name_or_key)

    # Faults

    @property
    def faults(self) -> list[Fault]:
        """The faults in force."""
        return self._server.faults.active

    def fault(self, kind: FaultKind, **options: Any) -> Fault:
        """Put a fault in force; `options` are the fields of `Fault`: `fault("reset_after", path="vm_actions")`."""
        return self._server.faults.add(Fault(kind, **options))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._server.faults.clear()

    @property
    def down(self) -> bool:
        """Whether the whole server drops connections; set it to take the server out or back in."""
        return self._server.down

    @down.setter
    def down(self, down: bool) -> None:
        self._server.down = down

    # Credentials

    def revoke_credentials(self) -> None:
        """From now on every credential is refused with 401."""
        self.world.accounts.revoked = True

    def restore_credentials(self) -> None:
        """All credentials are good again, and all users unlocked."""
        self.world.accounts.revoked = False
        self.world.accounts.unlock()

    def expire_sessions(self) -> None:
        """End all sessions; passwords and API keys stay good."""
        self.world.accounts.expire_sessions()

    def unlock_users(self) -> None:
        """Unlock users that were locked by wrong passwords."""
        self.world.accounts.unlock()

    def add_account(
        self, name: str, password: str, api_key: str, *, may_write: bool = True, visible_vms: set[int] | None = None
    ) -> Account:
        """Add a user; `visible_vms` makes its lists shorter (None: it sees all)."""
        return self.world.accounts.add(Account(name, password, {api_key}, may_write, visible_vms))


async def serve(settings: SimulatorSettings, ready: Callable[[str], None] | None = None) -> None:
    """Serve a simulated VergeOS until cancelled; `ready(url)` is called once it listens."""
    async with Simulator(settings) as simulator:
        if ready is not None:
            ready(simulator.url)
        await asyncio.Event().wait()
