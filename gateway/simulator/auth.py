"""Who may come in: accounts, API keys, sessions, locks (VergeOS API notes 1)."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.simulator.errors import ApiError
from gateway.simulator.model import Database, Row

LOGIN_REQUIRED = "Login required"
MAX_SESSIONS = 100
LOCK_SECONDS = 900


@dataclass(slots=True)
class Account:
    """A user that may log in; `visible_vms` limits what lists show (None: everything)."""

    name: str
    password: str
    api_keys: set[str]
    may_write: bool = True
    visible_vms: set[int] | None = None
    failed_logins: int = 0
    locked_until: float = 0.0
    sessions: list[str] = field(default_factory=list)


class Accounts:
    """Checks credentials. After `lock_after` wrong passwords (0: never) a user is locked, API keys included."""

    def __init__(self, db: Database, lock_after: int) -> None:
        self.db = db
        self.lock_after = lock_after
        self.revoked = False
        self.accounts: dict[str, Account] = {}

    def add(self, account: Account) -> Account:
        """Add a user, with a row in `users`; returns the account."""
        self.accounts[account.name] = account
        if self.db["users"].first("name", account.name) is None:
            created = int(self.db.now()) - 86_400
            self.db["users"].insert({"name": account.name, "displayname": account.name, "created": created})
        return account

    def login(self, name: str, password: str) -> str:
        """Open a session and return its token (40 hex digits).

        Raises `ApiError` 401 for a wrong password, a locked user or revoked credentials, and 422 above 100 sessions
        (the limit is documented, its status inferred).
        """
        account = self._by_password(name, password)
        if len(account.sessions) >= MAX_SESSIONS:
            raise ApiError(422, f"Maximum number of sessions ({MAX_SESSIONS}) reached")
        token = secrets.token_hex(20)
        account.sessions.append(token)
        return token

    def logout(self, token: str) -> None:
        """Close a session; an unknown token is no error."""
        for account in self.accounts.values():
            if token in account.sessions:
                account.sessions.remove(token)

    def who(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Account:
        """The account behind a request; raises `ApiError` 401 `Login required`."""
        if token := headers.get("x-yottabyte-token") or cookies.get("token"):
            return self._by_token(token)
        scheme, _, value = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._by_api_key(value.strip())
        if scheme.lower() == "basic":
            return self._by_basic(value.strip())
        raise ApiError(401, LOGIN_REQUIRED)

    def expire_sessions(self) -> None:
        """Make all session tokens invalid; passwords and API keys stay good."""
        for account in self.accounts.values():
            account.sessions.clear()

    def unlock(self) -> None:
        """Unlock every user."""
        for account in self.accounts.values():
            account.failed_logins, account.locked_until = 0, 0.0
            self._show_lock(account)

    def _by_basic(self, value: str) -> Account:
        try:
            name, _, password = base64.b64decode(value).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise ApiError(401, LOGIN_REQUIRED) from exc
        return self._by_password(name, password)

    def _by_password(self, name: str, password: str) -> Account:
        account = self.accounts.get(name)
        if account is None:
            raise ApiError(401, LOGIN_REQUIRED)
        self._require_open(account)
        if password != account.password:
            self._count_failure(account)
            raise ApiError(401, LOGIN_REQUIRED)
        if account.failed_logins:
            account.failed_logins = 0
            self._show_lock(account)
        return account

    def _by_api_key(self, key: str) -> Account:
        for account in self.accounts.values():
            if key in account.api_keys:
                self._require_open(account)
                return account
        raise ApiError(401, LOGIN_REQUIRED)

    def _by_token(self, token: str) -> Account:
        for account in self.accounts.values():
            if token in account.sessions:
                self._require_open(account)
                return account
        return self._by_api_key(token)

    def _require_open(self, account: Account) -> None:
        if self.revoked or account.locked_until > self.db.now():
            raise ApiError(401, LOGIN_REQUIRED)

    def _count_failure(self, account: Account) -> None:
        account.failed_logins += 1
        if self.lock_after and account.failed_logins >= self.lock_after:
            account.locked_until = self.db.now() + LOCK_SECONDS
        self._show_lock(account)

    def _show_lock(self, account: Account) -> None:
        row = self.db["users"].first("name", account.name)
        if row is not None:
            locked = account.locked_until > self.db.now()
            self.db["users"].change(row, {"failed_attempts": account.failed_logins, "account_locked": locked})


def may_see(account: Account, db: Database, table: str, row: Row) -> bool:
    """Whether a limited user sees a row: VMs outside `visible_vms` and their machines' rows are hidden from lists."""
    if account.visible_vms is None:
        return True
    if table == "vms":
        return row["$key"] in account.visible_vms
    if "machine" in db[table].schema.columns:
        vm = db["vms"].first("machine", row.get("machine"))
        return vm is None or vm["$key"] in account.visible_vms
    return True
