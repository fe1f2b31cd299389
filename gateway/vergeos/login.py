"""Who we are toward VergeOS: the credentials in use, the header that shows them, and the one session that is shared."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pydantic import SecretStr

from gateway.core.errors import StoreError, VergeOSTimeout, VergeOSUnauthorized
from gateway.settings import Settings
from gateway.store.credentials import SharedCredentials

CLAIM_SPARE_SECONDS = 5.0  # a claim outlives the login it is for
FRESH_SECONDS = 60.0  # a session that is refused later has ended as sessions do
CLAIM_POLL_SECONDS = 0.05
TOKEN_HEADER = "x-yottabyte-token"  # noqa: S105 - the name of a header
SHORTEST_SECRET = 4  # a shorter one would be cut out of ordinary words

LogIn = Callable[[str, str, float], Awaitable[str]]


def fingerprint(settings: Settings) -> str:
    """Return 16 hex digits that stand for address and credentials, and change when any of them does.

    Slow on purpose (some 10 ms): it stands in Redis, where it must not help to guess a password.
    """
    secrets = (settings.vergeos_api_key, settings.vergeos_token, settings.vergeos_pass)
    parts = (settings.vergeos_user, *(_value(secret) for secret in secrets))
    salt = settings.base_url.lower().encode()
    return hashlib.scrypt("\0".join(parts).encode(), salt=salt, n=2**12, r=8, p=1, dklen=8).hex()


class Login:
    """The first credentials found: API key, token, user with password. With a token set, the password renews it."""

    def __init__(self, settings: Settings, shared: SharedCredentials, fingerprint: str) -> None:
        self._api_key = _sendable("VERGEOS_API_KEY", settings.vergeos_api_key)
        self._token = _sendable("VERGEOS_TOKEN", settings.vergeos_token)
        self._user, self._password = settings.vergeos_user, _value(settings.vergeos_pass)
        self._shared = shared
        self._fingerprint = fingerprint
        self._session = "" if self._api_key else self._token
        self._untried: str | None = None  # a session just made; refused at its first use, another would be too
        self._made_at = 0.0
        self._unshared: str | None = None  # a session that only this process knows
        self._one_at_a_time = asyncio.Lock()
        if not (self._api_key or self._token or self._has_password):
            raise VergeOSUnauthorized(
                "no credentials for VergeOS are set",
                next_step="Set VERGEOS_API_KEY, or VERGEOS_TOKEN, or VERGEOS_USER and VERGEOS_PASS.",
            )

    @property
    def _has_password(self) -> bool:
        return bool(self._user and self._password)

    async def session(self, log_in: LogIn, seconds: float) -> str:
        """Return the session token to send, "" where an API key is sent instead; logs in if there is none yet."""
        if self._api_key or self._session:
            return self._session
        return await self._obtained("", log_in, seconds)

    def header(self, session: str) -> dict[str, str]:
        """Return the header that shows who we are."""
        return {TOKEN_HEADER: session} if session else {"Authorization": f"Bearer {self._api_key}"}

    def accepted(self, session: str) -> None:
        """Note that VergeOS took `session`."""
        if session == self._untried:
            self._untried = None

    async def renewed(self, refused: str, log_in: LogIn, seconds: float) -> str | None:
        """Return a session in place of the one VergeOS `refused`, or None if there is nothing left to try."""
        if self._api_key or not self._has_password or self._just_made(refused):
            return None
        return await self._obtained(refused, log_in, seconds)

    def _just_made(self, session: str) -> bool:
        return session == self._untried and time.monotonic() < self._made_at + FRESH_SECONDS

    @property
    def unshared(self) -> str | None:
        """Return the session to end when this process ends: one that no other can know of.

        A shared one stays: other processes use it, the next start takes it up, and VergeOS ends it after a
        day without use. So a user never holds more than a few of the 100 sessions that it may have.
        """
        return self._unshared

    def redacted(self, text: str) -> str:
        """Return `text` without any of the secrets, should VergeOS or a proxy repeat one."""
        for secret in {self._api_key, self._token, self._password, self._session}:
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text

    async def _obtained(self, refused: str, log_in: LogIn, seconds: float) -> str:
        """Take over the session that another task or process made, or make one; one login at a time over all."""
        try:
            async with asyncio.timeout(seconds), self._one_at_a_time:
                while self._session in ("", refused):
                    if await self._taken_over(refused):
                        break
                    if await self._claimed(seconds):
                        await self._made(log_in, seconds)
                    else:
                        await asyncio.sleep(CLAIM_POLL_SECONDS)
                return self._session
        except TimeoutError:
            raise VergeOSTimeout(f"no session with VergeOS within {seconds:g} s") from None

    async def _taken_over(self, refused: str) -> bool:
        with suppress(StoreError):
            shared = await self._shared.session(self._fingerprint)
            if shared is not None and shared != refused:
                self._session = shared
                return True
        return False

    async def _claimed(self, seconds: float) -> bool:
        try:
            return await self._shared.claim_login(self._fingerprint, seconds + CLAIM_SPARE_SECONDS)
        except StoreError:
            return True  # without Redis each process has a session of its own

    async def _made(self, log_in: LogIn, seconds: float) -> None:
        try:
            session = await log_in(self._user, self._password, seconds)
            self._session = self._untried = self._unshared = session
            self._made_at = time.monotonic()
            with suppress(StoreError):
                await self._shared.share_session(self._fingerprint, session)
                self._unshared = None
        finally:
            with suppress(StoreError):
                await self._shared.end_login(self._fingerprint)


def _value(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _sendable(setting: str, secret: SecretStr | None) -> str:
    """Return a secret as a header can carry it; a line end, as files leave one, is not part of it."""
    value = _value(secret).strip()
    if not (value.isascii() and (value.isprintable() or not value)):
        raise VergeOSUnauthorized(
            f"{setting} holds characters that cannot be sent", next_step=f"Set {setting} to the key or token alone."
        )
    return value
