"""What `POST vnet_actions` does (VergeOS API notes 3.10, 4.12)."""

from collections.abc import Callable
from typing import Any

from gateway.simulator.acting.power import Power
from gateway.simulator.errors import ApiError
from gateway.simulator.journal import Action
from gateway.simulator.model import Database, Row

START_SECONDS = 1.0
STOP_SECONDS = 1.5
KILL_SECONDS = 0.5
APPLY_SECONDS = 0.5
ROUTER_RAM_MB = 256

Params = dict[str, Any]


class VnetActions:
    """Power and pending changes of networks; `apply` and `killpower` are not in the list."""

    def __init__(self, db: Database, power: Power) -> None:
        self.db = db
        self.power = power
        self.table: dict[str, Callable[[Row, Params, Action], None]] = {
            "poweron": self.poweron,
            "poweroff": self.poweroff,
            "kill": self.kill,
            "reset": self.reset,
            "refresh": self.refresh,
            "migrate": self.migrate,
            "execute": self.nothing,
            "clear_statistics": self.nothing,
        }

    def _require_running(self, vnet: Row) -> None:
        if not self.power.is_running(vnet["machine"]):
            raise ApiError(422, "Network is not running")

    def nothing(self, _vnet: Row, _params: Params, action: Action) -> None:
        """Accepted; changes nothing that rows show."""
        action.effect_at = self.db.now()

    def poweron(self, vnet: Row, _params: Params, action: Action) -> None:
        """Start a stopped network; it comes up with its rules applied."""
        status = self.power.status_of(vnet["machine"]).get("status", "stopped")
        if status != "stopped":
            raise ApiError(422, f"Error powering on machine: Machine is already running with status '{status}'")
        self._start(vnet, action)

    def _start(self, vnet: Row, action: Action) -> None:
        def land(moment: float) -> None:
            flags = ("need_fw_apply", "need_dns_apply", "need_proxy_apply", "need_restart")
            self.db["vnets"].change(vnet, dict.fromkeys(flags, False))
            action.effect_at = moment

        self.power.start(vnet["machine"], cores=1, ram_mb=ROUTER_RAM_MB, landed=land, running_seconds=START_SECONDS)

    def poweroff(self, vnet: Row, _params: Params, action: Action) -> None:
        """Stop a network."""
        self._require_running(vnet)
        self.power.shut_down(vnet["machine"], STOP_SECONDS, hangs=False, landed=action.lands)

    def kill(self, vnet: Row, _params: Params, action: Action) -> None:
        """Stop a network at once."""
        self._require_running(vnet)
        self.power.kill(vnet["machine"], action.lands, seconds=KILL_SECONDS)

    def reset(self, vnet: Row, _params: Params, action: Action) -> None:
        """Stop and start: the network leaves `running` and comes back."""
        self._require_running(vnet)
        self.power.kill(vnet["machine"], lambda _moment: self._start(vnet, action), seconds=KILL_SECONDS)

    def refresh(self, vnet: Row, params: Params, action: Action) -> None:
        """Apply firewall rules, or with `target` `dnsonly` DNS; refused while the network is off."""
        self._require_running(vnet)
        flag = "need_dns_apply" if params.get("target") == "dnsonly" else "need_fw_apply"

        def land(moment: float) -> None:
            self.db["vnets"].change(vnet, {flag: False})
            action.effect_at = moment

        self.db.clock.after(APPLY_SECONDS, land)

    def migrate(self, vnet: Row, _params: Params, action: Action) -> None:
        """Move the network's router to another node."""
        self._require_running(vnet)
        here = self.power.status_of(vnet["machine"]).get("node")
        target = self.power.place(vnet["machine"], ROUTER_RAM_MB, avoid=here)
        if target is None:
            raise ApiError(422, "No suitable node was found to migrate to")
        self.power.migrate(vnet["machine"], target, action.lands)
