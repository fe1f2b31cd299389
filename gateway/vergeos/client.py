"""The client of VergeOS: a handful of verbs over one request path that retries, counts, logs in and names failures."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import orjson

from gateway.core.errors import (
    BudgetSpent,
    CircuitOpen,
    UpstreamError,
    VergeOSBadAnswer,
    VergeOSBusy,
    VergeOSDropped,
    VergeOSForbidden,
    VergeOSNotFound,
    VergeOSTimeout,
)
from gateway.core.text import clean
from gateway.core.trail import Sent, note
from gateway.settings import Settings
from gateway.store.credentials import SharedCredentials
from gateway.store.limits import RequestLimits
from gateway.vergeos import answers, columns, rows, spending
from gateway.vergeos.answers import CredentialsRefused, Receipt
from gateway.vergeos.budget import Budget
from gateway.vergeos.exchange import CutOff, Exchange, Request, open_exchange
from gateway.vergeos.filters import Filter
from gateway.vergeos.governor import Governor, Limits
from gateway.vergeos.latch import Latch
from gateway.vergeos.login import Login, fingerprint
from gateway.vergeos.rows import Identity

PAGE_ROWS = 1_000  # the most that VergeOS' own clients ask for at once
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_LAST_SECONDS = 2.0
LEAST_SECONDS = 0.1  # what is left of a try's time after a long login is still a try
GOODBYE_SECONDS = 2.0
LOGIN = "sys/tokens"

ENDPOINTS = frozenset(
    f"version {LOGIN} alarms cluster_tiers clusters dashboard logs machine_drives machine_logs machine_nics "
    "machine_snapshots machine_stats machine_stats_history_short machine_status nodes storage_tiers system tag_members "
    "tenant_actions tenant_nodes tenant_storage tenants vm_actions vms vnet_actions vnets volumes".split()
)

Observe = Callable[[str, str, float, str], None]
"""Told once per upstream attempt: a name in ENDPOINTS or "other"; "ok", "cancelled" or the failure's code; seconds; a
`Kind`: who spent."""


@dataclass(frozen=True)
class Patience:
    """How long one call may try: seconds per try (a login included), tries, and whether it waits for the budget."""

    seconds: float
    attempts: int = 3
    wait: bool = True


@dataclass(frozen=True)
class _Parts:
    exchange: Exchange
    login: Login
    governor: Governor
    budget: Budget
    latch: Latch
    observe: Observe | None


class VergeClient:
    """VergeOS' tables as rows, and its actions. Every method raises an UpstreamError that names method and table."""

    def __init__(self, parts: _Parts, patience: Patience) -> None:
        self._parts = parts
        self._patience = patience

    @property
    def governor(self) -> Governor:
        """Return what this process knows of the budget."""
        return self._parts.governor

    def patient(self, *, seconds: float | None = None, attempts: int | None = None, wait: bool | None = None) -> Self:
        """Return the same client, over the same connections and budget, with another patience.

        `seconds` is per try; `wait=False` raises BudgetSpent at once instead of waiting for the budget.
        """
        now = self._patience
        changed = Patience(
            now.seconds if seconds is None else seconds,
            now.attempts if attempts is None else attempts,
            now.wait if wait is None else wait,
        )
        return type(self)(self._parts, changed)

    async def rows(
        self,
        table: str,
        *,
        fields: str,
        filter: Filter | None = None,
        sort: str | None = None,
        limit: int = PAGE_ROWS,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Return at most `limit` rows of a table; `sort` is a field after + or -."""
        asked = {"fields": fields, "filter": filter, "sort": sort, "limit": limit, "offset": offset or None}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        request = Request("GET", f"/api/v4/{table}", table, query=query)
        return answers.listed(request, await self._request(request))

    async def all_rows(
        self, table: str, *, fields: str, filter: Filter | None = None, sort: str
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield every row in pages of up to 1,000, in the order of `sort`, which must be stable."""
        offset = 0
        while True:
            page = await self.rows(table, fields=fields, filter=filter, sort=sort, offset=offset)
            yield page
            if len(page) < PAGE_ROWS:
                return
            offset += len(page)

    async def row(self, table: str, key: int | str, *, fields: str) -> dict[str, Any]:
        """Return one row. Raises VergeOSNotFound."""
        request = _of_row("GET", table, key, {"fields": fields})
        return answers.single(request, await self._request(request))

    async def create(self, table: str, body: Mapping[str, Any]) -> Receipt:
        """Make a row and return its receipt, which always has a key; never tried twice."""
        request = _post(table, body)
        receipt = answers.receipt(await self._request(request))
        if receipt.key is None:
            raise VergeOSBadAnswer(f"{request}: VergeOS does not tell the key of what it made")
        return receipt

    async def update(self, table: str, key: int | str, body: Mapping[str, Any]) -> None:
        """Change the given fields of a row. VergeOS passes over unknown ones: read back (VergeOS API notes 2.6)."""
        if not body:
            raise ValueError("VergeOS takes an update without fields for done")
        await self._request(_of_row("PUT", table, key, {}, orjson.dumps(dict(body))))

    async def delete(self, table: str, key: int | str) -> None:
        """Delete a row. Raises VergeOSNotFound if it was not there before the first try."""
        await self._request(_of_row("DELETE", table, key, {}))

    async def action(self, table: str, body: Mapping[str, Any]) -> Receipt:
        """Ask for an action and return what VergeOS gave back, if anything; never tried twice."""
        return answers.receipt(await self._request(_post(table, body)))

    async def version(self) -> str:
        """Return the version of VergeOS, e.g. "26.1.8"; shows no credentials (VergeOS API notes 1.5)."""
        request = Request("GET", "/version.json", "version")
        return columns.word(
            answers.single(request, await self._exchanged(request, {}, self._patience.seconds)), "version"
        )

    async def identity(self) -> Identity:
        """Return which VergeOS system this is; one request, with credentials (VergeOS API notes 1.5)."""
        request = Request("GET", "/api/v4/system", "system", query={"fields": rows.IDENTITY_FIELDS})
        return rows.identity(answers.single(request, await self._request(request)))

    async def clear_latch(self) -> None:
        """Let refused credentials be tried again, by every process; on a person's word only. Raises StoreError."""
        await self._parts.latch.open()

    async def end_own_session(self) -> None:
        """Log out of a session that only this process knows; a failure is left to VergeOS' own expiry."""
        session = self._parts.login.unshared
        if session is None:
            return
        request = Request("DELETE", f"/api/sys/tokens/{quote(session, safe='')}", LOGIN)
        with suppress(UpstreamError):
            await self._exchanged(request, self._parts.login.header(session), GOODBYE_SECONDS)

    async def _request(self, request: Request) -> Any:
        """Return the JSON of a success: the one path of every call.

        What may be repeated is, after a break, a timeout or a busy answer, as often as the patience says and the
        budget lets it; where that ends it, the failure is told.
        A DELETE that finds nothing when repeated has worked before.
        """
        attempts = 1 if request.method == "POST" else self._patience.attempts
        attempt, failed = 1, None
        while True:
            try:
                return await self._authorized(request)
            except (BudgetSpent, CircuitOpen) as error:
                raise failed or error from None
            except VergeOSNotFound:
                if request.method == "DELETE" and attempt > 1:
                    return None
                raise
            except (VergeOSDropped, CutOff, VergeOSTimeout, VergeOSBusy) as error:
                if attempt == attempts:
                    raise
                failed = error
            await asyncio.sleep(_backoff_seconds(attempt))
            attempt += 1

    async def _authorized(self, request: Request) -> Any:
        """One try, repeated only with a renewed session where VergeOS refused the one in use: it did nothing then."""
        login = self._parts.login
        deadline = time.monotonic() + self._patience.seconds
        session = await login.session(self._log_in, self._patience.seconds)
        while True:
            try:
                found = await self._tried(request, login.header(session), _left(deadline))
            except CredentialsRefused:
                renewed = await login.renewed(session, self._log_in, _left(deadline))
                if renewed is None:
                    await self._parts.latch.close()
                    raise
                session = renewed
            else:
                login.accepted(session)
                return found

    async def _log_in(self, user: str, password: str, seconds: float) -> str:
        """Return a new session token; a refusal closes the latch (VergeOS API notes 1.2)."""
        body = orjson.dumps({"login": user, "password": password})
        request = Request("POST", "/api/sys/tokens", LOGIN, body=body)
        try:
            session = answers.receipt(await self._tried(request, {}, seconds, fresh=True)).key
        except (CredentialsRefused, VergeOSForbidden) as exc:
            await self._parts.latch.close()
            raise CredentialsRefused(exc.detail) from exc
        if session is None:
            raise VergeOSBadAnswer(f"{request}: VergeOS does not tell the session's token")
        return str(session)

    async def _tried(self, request: Request, headers: Mapping[str, str], seconds: float, *, fresh: bool = False) -> Any:
        """Exchange once, when the budget has room; `fresh`: not before Redis said that no other was refused."""
        wait_seconds = self._patience.seconds if self._patience.wait else 0.0
        async with self._parts.budget.turn(wait_seconds=wait_seconds, seconds=seconds, fresh=fresh):
            return await self._exchanged(request, headers, seconds)

    async def _exchanged(self, request: Request, headers: Mapping[str, str], seconds: float) -> Any:
        outcome, began = "cancelled", time.monotonic()
        try:
            answer = await self._parts.exchange.send(request, headers, seconds)
            found = answers.content(request, answer, self._parts.login.redacted)
            outcome = "ok"
        except UpstreamError as error:
            outcome = error.code
            raise
        finally:
            took = time.monotonic() - began
            note(Sent(began, request.method, f"{request.endpoint}/{request.row}".rstrip("/"), outcome, took))
            if self._parts.observe is not None:
                endpoint = request.endpoint if request.endpoint in ENDPOINTS else "other"
                self._parts.observe(endpoint, outcome, took, spending.spender().kind.value)
        return found


@asynccontextmanager
async def open_client(
    settings: Settings,
    limits: RequestLimits,
    credentials: SharedCredentials,
    *,
    attempts: int = 3,
    wait: bool = True,
    timeout: float | None = None,
    observe: Observe | None = None,
) -> AsyncIterator[VergeClient]:
    """Open a client for the VergeOS of `settings`; asks nothing of it yet.

    `timeout` is in seconds per try (default VERGEOS_TIMEOUT). A worker's steps take `attempts=1, wait=False`.
    Raises VergeOSUnreachable, VergeOSUnauthorized or VergeOSCertificate where the settings cannot work.
    """
    async with open_exchange(settings) as exchange:
        mark = await asyncio.to_thread(fingerprint, settings)
        login = Login(settings, credentials, mark)
        latch = Latch(credentials, mark)
        governor = Governor(limits, latch, mark, Limits.of(settings))
        patience = Patience(settings.vergeos_timeout if timeout is None else timeout, attempts, wait)
        client = VergeClient(_Parts(exchange, login, governor, Budget(governor, latch), latch, observe), patience)
        async with governor.running():
            try:
                yield client
            finally:
                await client.end_own_session()


def _of_row(method: str, table: str, key: int | str, query: Mapping[str, str], body: bytes | None = None) -> Request:
    path = f"/api/v4/{table}/{quote(str(key), safe='')}"
    return Request(method, path, table, row=clean(str(key), columns.WORD_LIMIT), query=query, body=body)


def _post(table: str, body: Mapping[str, Any]) -> Request:
    return Request("POST", f"/api/v4/{table}", table, body=orjson.dumps(dict(body)))


def _left(deadline: float) -> float:
    """Seconds left of a try; never so few that the try is none."""
    return max(deadline - time.monotonic(), LEAST_SECONDS)


def _backoff_seconds(attempt: int) -> float:
    """The pause after a failed attempt: doubled each time and spread, so that those who failed together part."""
    doubled: float = BACKOFF_FIRST_SECONDS * 2 ** (attempt - 1)
    return min(doubled * random.uniform(1.0, 2.0), BACKOFF_LAST_SECONDS)
