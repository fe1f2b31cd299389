"""What `POST tenant_actions` does (VergeOS API notes 3.11, 4.11)."""

from collections.abc import Callable
from typing import Any

from gateway.simulator.acting.power import Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Action, Journal
from gateway.simulator.model import Database, Row

START_SECONDS = 3.0
STOP_SECONDS = 4.0

Params = dict[str, Any]


class TenantActions:
    """Power and isolation of tenants; snapshots of tenants are refused."""

    def __init__(self, db: Database, power: Power, journal: Journal) -> None:
        self.db = db
        self.power = power
        self.journal = journal
        self.table: dict[str, Callable[[Row, Params, Action], None]] = {
            "poweron": self.poweron,
            "poweroff": self.poweroff,
            "reset": self.reset,
            "isolateon": lambda tenant, _params, action: self._isolate(tenant, True, action),
            "isolateoff": lambda tenant, _params, action: self._isolate(tenant, False, action),
            "clone": self.nothing,
            "refresh_status": self.nothing,
            "give_file": self.nothing,
            "execute": self.nothing,
        }

    def nothing(self, _tenant: Row, _params: Params, action: Action) -> None:
        """Accepted; changes nothing that rows show."""
        action.effect_at = self.db.now()

    def poweron(self, tenant: Row, _params: Params, action: Action) -> None:
        """Start a stopped tenant and its nodes."""
        status = self._status(tenant, expected=("stopped",))
        self._start(tenant, status, action)

    def poweroff(self, tenant: Row, _params: Params, action: Action) -> None:
        """Stop a running tenant and its nodes."""
        status = self._status(tenant, expected=("running",))
        self._stop(tenant, status, action.lands)

    def reset(self, tenant: Row, _params: Params, action: Action) -> None:
        """Stop and start a running tenant."""
        status = self._status(tenant, expected=("running",))
        self._stop(tenant, status, lambda _moment: self._start(tenant, status, action))

    def _status(self, tenant: Row, expected: tuple[str, ...]) -> Row:
        if tenant.get("is_snapshot"):
            raise ApiError(422, "Cannot run actions on a snapshot")
        status = self.db["tenant_status"].rows[tenant["status"]]
        if status.get("status", "stopped") not in expected:
            raise ApiError(422, f"Tenant has status '{status.get('status', 'stopped')}'")
        return status

    def _change(self, status: Row, word: str, **changes: Any) -> None:
        flags = {
            "starting": word == "starting",
            "stopping": word == "stopping",
            "running": word in ("running", "stopping"),
        }
        state = "online" if word == "running" else "offline"
        self.db["tenant_status"].change(status, {"status": word, "state": state, **flags, **changes})

    def _start(self, tenant: Row, status: Row, action: Action) -> None:
        self._change(status, "starting")
        nodes = self.db["tenant_nodes"].where("tenant", tenant["$key"])
        enabled = [node for node in nodes if node.get("enabled", True)]
        for node in enabled:
            ram_mb, cores = node.get("ram", 16_384), node.get("cpu_cores", 4)
            self.power.start(
                node["machine"], cores=cores, ram_mb=ram_mb, landed=_nothing_more, running_seconds=START_SECONDS - 0.5
            )

        def land(moment: float) -> None:
            # A node that found no place falls back silently, and a tenant without a running node does so too (3.11).
            if enabled and not any(self.power.is_running(node["machine"]) for node in enabled):
                self._change(status, "stopped", stopped=int(moment))
                return
            self._change(status, "running", started=max(int(moment), status.get("started", 0) + 1))
            action.effect_at = moment

        self.db.clock.after(START_SECONDS, land)

    def _stop(self, tenant: Row, status: Row, landed: Callable[[float], None]) -> None:
        self._change(status, "stopping")
        for node in self.db["tenant_nodes"].where("tenant", tenant["$key"]):
            if self.power.is_running(node["machine"]):
                self.power.shut_down(node["machine"], STOP_SECONDS - 0.5, hangs=False, landed=_nothing_more)

        def land(moment: float) -> None:
            self._change(status, "stopped", stopped=int(moment))
            landed(moment)

        self.db.clock.after(STOP_SECONDS, land)

    def _isolate(self, tenant: Row, isolate: bool, action: Action) -> None:
        self.db["tenants"].change(tenant, {"isolate": isolate})
        action.effect_at = self.db.now()


def _nothing_more(_moment: float) -> None:
    return None
