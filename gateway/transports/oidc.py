"""Bearer tokens of an identity provider: its keys, fetched and kept, and what a token that they signed says."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from typing import Any, Final

import aiohttp
import jwt
import orjson

from gateway.core.access import Standing
from gateway.core.errors import IssuerAway
from gateway.core.text import clean
from gateway.rights.directory import refused
from gateway.settings import Settings
from gateway.telemetry.logs import get_logger

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
SKEW_SECONDS: Final = 60  # what the clocks of provider and gateway may differ
AGAIN_SECONDS: Final = 30.0  # between fetches for keys that nobody knows, so that odd tokens cannot press the provider
NONE_SECONDS: Final = 1.0  # the same as long as no key is known
FETCH_SECONDS: Final = 5.0
MOST_BYTES, CHUNK_BYTES = 1 << 20, 1 << 16
TOKENS_KEPT: Final = 2_000
LONGEST_NAME: Final = 255  # as OpenID Connect bounds `sub`
REQUIRED: Final = ["exp", "iss", "aud", "sub"]

log = get_logger(__name__)


class Issuer:
    """One identity provider."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._again_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._verified: OrderedDict[str, tuple[Standing, float]] = OrderedDict()

    def knows(self, token: str) -> bool:
        """Tell whether this token was found good before; asks nobody and costs little."""
        return _digest(token) in self._verified

    async def verified(self, token: str) -> tuple[Standing, float]:
        """Return by what its bearer stands, and until when (Unix seconds). Raises `Unauthorized`, `IssuerAway`."""
        known = self.at_hand(token)
        if known is not None:
            return known
        claims = await self._claims(token)
        found = self._standing(claims), float(claims["exp"]) + SKEW_SECONDS
        while len(self._verified) >= TOKENS_KEPT:
            self._verified.popitem(last=False)
        self._verified[_digest(token)] = found
        return found

    def at_hand(self, token: str) -> tuple[Standing, float] | None:
        """Return the same where it was found out before and still holds, None otherwise; asks nobody."""
        known = self._verified.get(_digest(token))
        return known if known is not None and time.time() < known[1] and not self._old else None

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise refused("no token that can be read") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise refused("an algorithm that is not taken")
        key = await self._key(kid if isinstance(kid, str) else "")
        if key is None:
            raise refused("a key that the provider does not have")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audiences,
                issuer=self._settings.oidc_issuer,
                leeway=SKEW_SECONDS,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as exc:
            raise refused(f"a token that does not hold: {type(exc).__name__}") from None

    def _standing(self, claims: dict[str, Any]) -> Standing:
        settings = self._settings
        person = claims.get(settings.oidc_name_claim)
        if not isinstance(person, str) or not person or "/" in person or clean(person, LONGEST_NAME) != person:
            raise refused(f"a token without a usable {settings.oidc_name_claim}")
        client = claims.get("azp") or claims.get("client_id") or ""
        return Standing(
            person=person,
            groups=tuple(sorted(_words(claims.get(settings.oidc_groups_claim)))),
            scopes=tuple(sorted(_words(claims.get("scope") or claims.get("scp")))),
            client=client if isinstance(client, str) else "",
        )

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """Return the provider's key of this id; one that is not known is looked for once in a while only.

        Raises `IssuerAway` where no key is known.
        """
        if (self._old or kid not in self._keys) and time.monotonic() >= self._again_at:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch(), name="oidc-keys")
            await asyncio.shield(self._fetching)  # a caller who leaves takes nobody's keys with him
        if not self._keys:
            raise IssuerAway("the identity provider does not tell its keys", retry_after=NONE_SECONDS)
        return self._keys.get(kid)

    @property
    def _old(self) -> bool:
        return time.monotonic() - self._fetched_at >= self._settings.oidc_keys_seconds

    async def _fetch(self) -> None:
        """Know the provider's keys; where it does not tell them, those of before go on."""
        try:
            found = await self._told()
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as exc:
            log.warning("the identity provider's keys cannot be read", error=type(exc).__name__)
        else:
            self._keys, self._fetched_at = found, time.monotonic()
            self._verified.clear()
        again = min(AGAIN_SECONDS, self._settings.oidc_keys_seconds) if self._keys else NONE_SECONDS
        self._again_at = time.monotonic() + again

    async def _told(self) -> dict[str, jwt.PyJWK]:
        issuer = self._settings.oidc_issuer
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            found = await _json(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                raise ValueError("the document is of another issuer")
            keys = (await _json(http, str(found["jwks_uri"])))["keys"]
        return {str(key.key_id): key for key in map(_usable, keys) if key is not None}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _usable(told: dict[str, Any]) -> jwt.PyJWK | None:
    """Return a key of the provider that signs tokens as we take them; None for any other, of which it may have some."""
    try:
        key = jwt.PyJWK(told)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    signs = told.get("use", "sig") == "sig" and key.algorithm_name in ALGORITHMS
    return key if signs and key.key_id is not None else None


async def _json(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    body = bytearray()
    async with http.get(url, allow_redirects=False) as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > MOST_BYTES:
                raise ValueError("more than is read")
    decoded = orjson.loads(body)
    if not isinstance(decoded, dict):
        raise TypeError("not an object")
    return decoded


def _words(claim: object) -> list[str]:
    """Return the words of a claim, which is a list of them or one text of several."""
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []
