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
from gateway.rights.directory import refused
from gateway.settings import Settings
from gateway.telemetry.logs import get_logger

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
SKEW_SECONDS: Final = 60  # what the clocks of provider and gateway may differ
KEYS_SECONDS: Final = 600.0  # so long the provider's keys are kept
AGAIN_SECONDS: Final = 30.0  # between fetches for keys that nobody knows, so that odd tokens cannot press the provider
FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 1 << 20
TOKENS_KEPT: Final = 2_000
REQUIRED: Final = ["exp", "iss", "aud", "sub"]

log = get_logger(__name__)


class Issuer:
    """One identity provider."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._verified: OrderedDict[str, tuple[Standing, float]] = OrderedDict()

    def knows(self, token: str) -> bool:
        """Tell whether this token was found good before; asks nobody and costs little."""
        return hashlib.sha256(token.encode()).hexdigest() in self._verified

    async def verified(self, token: str) -> tuple[Standing, float]:
        """Return by what its bearer stands, and until when (Unix seconds). Raises `Unauthorized`, `IssuerAway`."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._verified.get(digest)
        if known is not None and time.time() < known[1] and time.monotonic() - self._fetched_at < KEYS_SECONDS:
            return known
        claims = await self._claims(token)
        found = self._standing(claims), float(claims["exp"]) + SKEW_SECONDS
        while len(self._verified) >= TOKENS_KEPT:
            self._verified.popitem(last=False)
        self._verified[digest] = found
        return found

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
                options={"require": REQUIRED},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as exc:
            raise refused(f"a token that does not hold: {type(exc).__name__}") from None

    def _standing(self, claims: dict[str, Any]) -> Standing:
        settings = self._settings
        person = claims.get(settings.oidc_name_claim)
        if not isinstance(person, str) or not person or "/" in person:
            raise refused(f"a token without a usable {settings.oidc_name_claim}")
        client = claims.get("azp") or claims.get("client_id") or ""
        return Standing(
            person=person,
            groups=tuple(sorted(_words(claims.get(settings.oidc_groups_claim)))),
            scopes=tuple(sorted(_words(claims.get("scope") or claims.get("scp")))),
            client=client if isinstance(client, str) else "",
        )

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """Return the provider's key of this id; one that is not known is looked for once in a while only."""
        async with self._fetching:
            now = time.monotonic()
            old = now - self._fetched_at >= KEYS_SECONDS
            if (old or kid not in self._keys) and (now - self._tried_at >= AGAIN_SECONDS or not self._keys):
                await self._fetch(now)
        return self._keys.get(kid)

    async def _fetch(self, now: float) -> None:
        self._tried_at = now
        try:
            timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
            async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
                found = await _json(http, f"{self._settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._settings.oidc_issuer:
                    raise ValueError("the document is of another issuer")
                keys = await _json(http, str(found["jwks_uri"]))
            usable = [jwt.PyJWK(key) for key in keys["keys"] if key.get("use", "sig") == "sig" and "kid" in key]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, jwt.PyJWTError) as exc:
            log.warning("the identity provider's keys cannot be read", error=type(exc).__name__)
            if not self._keys:
                raise IssuerAway("the identity provider does not tell its keys", retry_after=AGAIN_SECONDS) from None
            return
        self._keys = {str(key.key_id): key for key in usable}
        self._fetched_at = now
        self._verified.clear()


async def _json(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with http.get(url, allow_redirects=False) as answer:
        answer.raise_for_status()
        body = await answer.content.read(MOST_BYTES)
    decoded = orjson.loads(body)
    if not isinstance(decoded, dict):
        raise TypeError("not an object")
    return decoded


def _words(claim: object) -> list[str]:
    """Return the words of a claim, which is a list of them or one text of several."""
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []
