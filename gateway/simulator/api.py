"""What the simulated API answers to a request: from method, path, query and body to status and JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.simulator import totals
from gateway.simulator.acting.actions import OWNERS, ROW_ACTIONS
from gateway.simulator.auth import Account, may_see
from gateway.simulator.errors import ApiError, not_found
from gateway.simulator.fields import compile_fields
from gateway.simulator.journal import Action
from gateway.simulator.model import Row, Table
from gateway.simulator.query import read_list
from gateway.simulator.world import World
from gateway.simulator.writing.writes import find_row

API = "/api/v4"
TOKENS = "/api/sys/tokens"
VERSION = {"name": "v4", "version": "26.1.8", "hash": "51ab2e7"}
MAX_REQUEST_LINE_BYTES = 8192
TASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request as the API sees it; `at` is when it came in (Unix seconds)."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes
    at: float

    def label(self) -> str:
        """How the request is counted: method and table, such as `GET machine_status`."""
        path = self.path.removeprefix(API).removeprefix("/api").strip("/")
        table = "/".join(path.split("/")[:2]) if path.startswith("sys/") else path.partition("/")[0]
        return f"{self.method} {table or 'v4'}"

    def json(self) -> dict[str, Any]:
        """The body as an object; only JSON is read, any other body counts as empty. `ApiError` 400 if malformed."""
        if not self.body.strip() or "json" not in self.headers.get("Content-Type", ""):
            return {}
        try:
            body = orjson.loads(self.body)
        except orjson.JSONDecodeError as exc:
            raise ApiError(400, "Invalid JSON in request body") from exc
        if not isinstance(body, dict):
            raise ApiError(400, "Request body must be an object")
        return body


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON of an answer; `payload` None is an empty body."""

    status: int
    payload: Any


class Api:
    """Answers requests on a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.db = world.db

    def answer(self, request: ApiRequest) -> Answer:
        """Carry a request out; every refusal comes back as `{"err": …}` with its status, nothing is raised."""
        self.db.clock.settle()
        try:
            return self._answer(request)
        except ApiError as exc:
            return Answer(exc.status, {"err": exc.err})
        except RecursionError:
            return Answer(422, {"err": "Invalid argument"})

    def _answer(self, request: ApiRequest) -> Answer:
        path = request.path.rstrip("/")
        if path == "/version.json":
            return Answer(200, VERSION)
        if path == TOKENS and request.method == "POST":
            return self._login(request)
        account = self.world.accounts.who(request.headers, request.cookies)
        if path.startswith(TOKENS + "/") and request.method == "DELETE":
            self.world.accounts.logout(path.rpartition("/")[2])
            return Answer(200, None)
        if path != API and not path.startswith(API + "/"):
            raise not_found("Resource")
        parts = [part for part in path.removeprefix(API).split("/") if part]
        if request.method == "GET":
            return Answer(200, self._read(parts, request, account))
        if not account.may_write:
            raise ApiError(403, "Permission denied")
        return self._write(parts, request, account)

    def _login(self, request: ApiRequest) -> Answer:
        body = request.json()
        token = self.world.accounts.login(str(body.get("login", "")), str(body.get("password", "")))
        receipt = {"location": f"/sys/tokens/{token}", "dbpath": f"tokens/{token}", "$row": 7, "$key": token}
        return Answer(200, receipt)

    # Reading

    def _read(self, parts: list[str], request: ApiRequest, account: Account) -> Any:
        if not parts:
            return sorted((*self.db.tables, *OWNERS, "dashboard"))
        if parts == ["dashboard"]:
            return [totals.dashboard(self.db)]
        table = self._table(parts[0])
        if len(parts) == 1:
            limited = account.visible_vms is not None or self.world.power.unreadable
            sees = (lambda row: self._shows(account, table, row)) if limited else None
            return read_list(table, request.query, self.db, sees)
        if parts[1] == "$table":
            return describe(table)
        row = find_row(table, "/".join(parts[1:]))
        if not self._shows(account, table, row):
            raise not_found(f"{table.name}/{parts[1]}")
        return compile_fields(request.query.get("fields"), table, self.db)(row)

    def _shows(self, account: Account, table: Table, row: Row) -> bool:
        if table.name == "vms" and row["$key"] in self.world.power.unreadable:
            return False
        return may_see(account, self.db, table.name, row)

    def _table(self, name: str) -> Table:
        table = self.db.tables.get(name)
        if table is None:
            raise not_found(f"Resource '{name}'")
        return table

    # Writing

    def _write(self, parts: list[str], request: ApiRequest, account: Account) -> Answer:
        if request.method == "POST" and len(parts) == 1 and parts[0] in OWNERS:
            return self._act(parts[0], request.json(), request.at, account)
        if request.method == "POST" and len(parts) == 3 and (parts[0], parts[2]) in ROW_ACTIONS:
            action_table, word = ROW_ACTIONS[parts[0], parts[2]]
            body = {OWNERS[action_table][0]: parts[1], "action": word, "params": request.json()}
            return self._act(action_table, body, request.at, account)
        table = self._table(parts[0]) if parts else None
        if table is not None and request.method == "POST" and len(parts) == 1:
            return self._create(table, request, account)
        if table is not None and len(parts) == 2 and request.method in ("PUT", "PATCH"):
            return self._update(table, find_row(table, parts[1]), request, account)
        if table is not None and len(parts) == 2 and request.method == "DELETE":
            return self._delete(table, find_row(table, parts[1]), request, account)
        raise ApiError(405, "Method not allowed")

    def _act(self, table: str, body: dict[str, Any], at: float, account: Account) -> Answer:
        owners, owner, key = self.world.actions.owner(table, body)
        name = str(key if owner is None else owner.get("name", owner.get(owners.schema.display, "")))
        params = body.get("params")
        action = Action(
            at,
            table,
            owner["$key"] if owner is not None else key,
            name,
            str(body.get("action", "")),
            params if isinstance(params, dict) else {},
            account.name,
        )
        receipt = self._journaled(action, lambda: self.world.actions.run(table, owner, action))
        return Answer(200, None) if action.action == "restore" else Answer(201, receipt)  # measured: an empty body

    def _create(self, table: Table, request: ApiRequest, account: Account) -> Answer:
        body = request.json()
        action = Action(request.at, table.name, None, str(body.get("name", "")), "create", body, account.name)

        def create() -> dict[str, Any]:
            row, response = self.world.writes.create(table, body, account.name)
            key = action.key = row["$key"]
            action.effect_at = self.db.now()
            receipt = {"location": f"/v4/{table.name}/{key}", "dbpath": f"{table.name}/{key}"}
            receipt |= {"$row": key, "$key": str(key)}
            return receipt if response is None else {**receipt, "response": response}

        return Answer(201, self._journaled(action, create))

    def _update(self, table: Table, row: Row, request: ApiRequest, account: Account) -> Answer:
        if table.name == "tasks" and "action" in request.query:
            return self._run_task(table, row, request)
        if "action" in request.query:
            return Answer(200, {})  # a query action outside `tasks` is a silent no-op (VergeOS API notes 2.9)
        body = request.json()
        name = str(row.get("name", ""))
        action = Action(request.at, table.name, row["$key"], name, "update", body, account.name)

        def update() -> dict[str, Any]:
            written = self.world.writes.update(table, row, body, account.name)
            action.effect_at = self.db.now()
            self._log_update(table, row, written, account)
            return {}

        return Answer(200, self._journaled(action, update))

    def _delete(self, table: Table, row: Row, request: ApiRequest, account: Account) -> Answer:
        name = str(row.get("name", ""))
        action = Action(request.at, table.name, row["$key"], name, "delete", {}, account.name)

        def delete() -> None:
            self.world.writes.delete(table, row, account.name)
            action.effect_at = self.db.now()

        return Answer(200, self._journaled(action, delete))

    def _journaled(self, action: Action, run: Callable[[], Any]) -> Any:
        """Run a write; it stands in the list of actions whatever comes of it."""
        self.world.journal.actions.append(action)
        try:
            return run()
        except ApiError as exc:
            action.ok, action.error = False, exc.err
            raise

    def _log_update(self, table: Table, row: Row, written: dict[str, Any], account: Account) -> None:
        kind = {"vms": "vm", "vnets": "vnet", "tenants": "tenant", "nodes": "node", "clusters": "cluster"}.get(
            table.name
        )
        if kind is not None and written:
            text = f"Changed {', '.join(sorted(written))}"
            machine = row.get("machine")
            name = str(row.get("name", ""))
            self.world.journal.log(text, object_type=kind, object_name=name, user=account.name, machine=machine)

    def _run_task(self, table: Table, row: Row, request: ApiRequest) -> Answer:
        if request.query["action"] == "execute":
            table.change(row, {"status": "running", "last_run": int(self.db.now())})
            self.db.clock.after(TASK_SECONDS, lambda _moment: table.change(row, {"status": "idle"}))
        elif request.query["action"] == "cancel":
            table.change(row, {"status": "idle"})
        return Answer(200, {})


def describe(table: Table) -> dict[str, Any]:
    """A minimal `$table`: name and columns of a table."""
    columns = [
        {"name": name, "readonly": column.readonly, "default": column.default, "list": list(column.choices)}
        for name, column in table.schema.columns.items()
    ]
    return {"name": table.name, "fields": columns}
