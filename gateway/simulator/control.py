"""Control of a running simulator over HTTP under `/_sim/`: JSON, loopback, no authentication."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.simulator.faults import FaultKind

if TYPE_CHECKING:
    from gateway.simulator.simulator import Simulator


class FaultOrder(BaseModel):
    """A fault to add; the fields are those of `Fault`."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    method: str = ""
    path: str = ""
    body_matches: str = ""
    count: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seconds: float = 1.0
    status: int = 500
    effect: bool = False
    answer: str = "reset"
    body: Literal["html", "truncated", "huge", "empty"] = "html"


class VmOrder(BaseModel):
    """Behaviours to set, and changes from outside; what is None stays as it is."""

    model_config = ConfigDict(extra="forbid")

    ignore_acpi: bool | None = None
    hang_in_stopping: bool | None = None
    refuse_cpu_change: bool | None = None
    refuse_placement: bool | None = None
    fail_to_restore: bool | None = None
    forbid_migration: bool | None = None
    fail_to_start: str | Literal[False] | None = None
    guest_seconds: float | None = None
    unreadable_while_restoring: float | None = None
    name: str | None = None
    power: Literal["start", "stop"] | None = None
    replace_machine: bool = False
    delete: bool = False


class CredentialsOrder(BaseModel):
    """What to do to all credentials."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["revoke", "restore", "expire_sessions", "unlock"]


class StateOrder(BaseModel):
    """The whole server: down or up."""

    model_config = ConfigDict(extra="forbid")

    down: bool


class Control:
    """Answers requests under `/_sim/`."""

    def __init__(self, simulator: "Simulator") -> None:
        self.simulator = simulator
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "actions"): lambda _body: [action.as_dict() for action in simulator.actions],
            ("DELETE", "actions"): self._reset,
            ("GET", "requests"): lambda _body: self._requests(),
            ("DELETE", "requests"): self._reset,
            ("GET", "faults"): lambda _body: [fault.as_dict() for fault in simulator.faults],
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): lambda _body: simulator.clear_faults(),
            ("GET", "state"): lambda _body: simulator.state(),
            ("POST", "state"): self._set_state,
            ("POST", "credentials"): self._credentials,
        }

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer one request; 404 for unknown paths and VMs, 422 for a body that does not fit."""
        parts = request.path.strip("/").split("/")[1:]
        body = await request.read()
        try:
            if len(parts) == 2 and parts[0] == "vms":
                return _json(self._vm(request.method, parts[1], body))
            route = self._routes.get((request.method, "/".join(parts)))
            if route is None:
                return _json({"err": "unknown path under /_sim/"}, 404)
            return _json(route(body))
        except KeyError as exc:
            return _json({"err": f"no such VM: {exc}"}, 404)
        except (ValidationError, ValueError) as exc:
            return _json({"err": str(exc)}, 422)

    def _requests(self) -> dict[str, Any]:
        return {
            "requests": dict(self.simulator.requests),
            "bytes_sent": dict(self.simulator.bytes_sent),
            "connections": self.simulator.connections,
        }

    def _reset(self, _body: bytes) -> None:
        self.simulator.reset_counts()

    def _add_fault(self, body: bytes) -> Any:
        return self.simulator.fault(**FaultOrder.model_validate_json(body).model_dump()).as_dict()

    def _set_state(self, body: bytes) -> Any:
        self.simulator.down = StateOrder.model_validate_json(body).down
        return self.simulator.state()

    def _credentials(self, body: bytes) -> Any:
        order = CredentialsOrder.model_validate_json(body)
        acts: dict[str, Callable[[], None]] = {
            "revoke": self.simulator.revoke_credentials,
            "restore": self.simulator.restore_credentials,
            "expire_sessions": self.simulator.expire_sessions,
            "unlock": self.simulator.unlock_users,
        }
        acts[order.action]()
        return {"action": order.action}

    def _vm(self, method: str, name_or_key: str, body: bytes) -> Any:
        vm = self.simulator.vm(int(name_or_key) if name_or_key.isdecimal() else name_or_key)
        if method == "PATCH":
            order = VmOrder.model_validate_json(body)
            self._behave(vm.key, order)
            if order.delete:
                vm.delete()
                return {"key": vm.key, "deleted": True}
            self._change(vm.key, order)
        return {
            "key": vm.key,
            "machine_key": vm.machine_key,
            "name": vm.name,
            "uuid": vm.uuid,
            "running": vm.running,
            "status": vm.status,
            "started": vm.started,
            "node": vm.node,
            "cpu_cores": vm.cpu_cores,
            "ram_mb": vm.ram_mb,
            "need_restart": vm.need_restart,
            "actions": vm.power_actions(),
        }

    def _behave(self, key: int, order: VmOrder) -> None:
        vm = self.simulator.vm(key)
        switches: dict[str, Callable[[bool], Any]] = {
            "ignore_acpi": vm.ignore_acpi,
            "hang_in_stopping": vm.hang_in_stopping,
            "refuse_cpu_change": vm.refuse_cpu_change,
            "refuse_placement": vm.refuse_placement,
            "fail_to_restore": vm.fail_to_restore,
            "forbid_migration": vm.forbid_migration,
        }
        for name, switch in switches.items():
            value = getattr(order, name)
            if value is not None:
                switch(value)
        if order.fail_to_start is not None:
            vm.fail_to_start(order.fail_to_start or None)
        if order.guest_seconds is not None:
            vm.guest_seconds = order.guest_seconds
        if order.unreadable_while_restoring is not None:
            vm.unreadable_while_restoring(order.unreadable_while_restoring)

    def _change(self, key: int, order: VmOrder) -> None:
        vm = self.simulator.vm(key)
        if order.name is not None:
            vm.rename(order.name)
        if order.power == "start":
            vm.start()
        if order.power == "stop":
            vm.stop()
        if order.replace_machine:
            vm.replace_machine()


def _json(payload: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(payload), content_type="application/json")
