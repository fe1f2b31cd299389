"""A gateway as its command line sees it: REST over the standard library alone, so that a command starts at once."""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from gateway.core.errors import GatewayError

URL, TOKEN, CA_BUNDLE, PORT = "VERGEOS_MCP_URL", "VERGEOS_MCP_TOKEN", "VERGEOS_MCP_CA_BUNDLE", "PORT"
ANSWER_SECONDS = 60.0
BROKEN = (OSError, http.client.HTTPException)


class CannotReach(GatewayError):
    """The gateway, or what it needs itself, does not answer; the same command may succeed later."""

    code, status, retryable = "cannot_reach", 503, True
    next_step = f"Check that the gateway runs; {URL} names one that is not on this machine."


class Refused(GatewayError):
    """The gateway refused the call, for a reason that it names."""

    code, status = "refused", 400


class WrongUse(GatewayError):
    """The environment or the arguments cannot work."""

    code, status = "wrong_settings", 400


class _NoDetours(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for the gateway that was named."""

    def redirect_request(self, *_redirect: Any) -> None:
        return None


@dataclass(frozen=True)
class Remote:
    """The gateway to talk to, and as whom."""

    url: str
    token: str | None = None
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Remote":
        """Return the gateway that the environment names, or the one of this machine. Raises `WrongUse`."""
        here = f"http://127.0.0.1:{environment.get(PORT) or 3002}"
        url = (environment.get(URL, "").strip() or here).rstrip("/").removesuffix("/mcp")
        if not url.startswith(("http://", "https://")):
            raise WrongUse(f"{URL} is not a URL", next_step=f"Set {URL}, e.g. https://vergeos.example.com.")
        if "@" in url:
            raise WrongUse(f"{URL} must not hold a user or a password", next_step=f"{TOKEN} holds the key.")
        bundle = environment.get(CA_BUNDLE)
        try:
            tls = ssl.create_default_context(cafile=bundle) if bundle else None
        except (OSError, ssl.SSLError) as exc:
            raise WrongUse(f"{CA_BUNDLE}: {exc}", next_step="Name a file with the CA's certificate.") from None
        return cls(url, environment.get(TOKEN, "").strip() or None, tls)

    def get(self, *path: str, **query: Any) -> Any:
        """Return the JSON of a read. Raises `CannotReach`, `Refused`."""
        return self._send("GET", path, query, None)

    def post(self, *path: str, body: Any = None) -> Any:
        """Return the JSON that a change is answered with. Raises `CannotReach`, `Refused`."""
        return self._send("POST", path, {}, json.dumps(body or {}).encode())

    def _send(self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: bytes | None) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        address = "/".join((self.url, *(quote(part, safe="") for part in path)))
        headers = {"Accept": "application/json", "User-Agent": "vergeos-gateway-cli"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310  `of` takes http and https only
            f"{address}?{urlencode(given)}" if given else address, data=body, headers=headers, method=method
        )
        opener = urllib.request.build_opener(_NoDetours, urllib.request.HTTPSHandler(context=self.tls))
        try:
            with opener.open(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            raise _refusal(exc.code, exc.read()) from None
        except urllib.error.URLError as exc:
            raise CannotReach(f"no connection to {self.url}: {exc.reason}", next_step=_advice(exc.reason)) from None
        except ValueError:
            raise CannotReach(f"{self.url} does not answer JSON: it is no gateway, or a proxy is before it") from None
        except BROKEN as exc:
            raise CannotReach(f"no answer from {self.url}: {type(exc).__name__}") from None


def _advice(reason: Any) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"{CA_BUNDLE} names the file of your own CA."
    return CannotReach.next_step


def _refusal(status: int, body: bytes) -> GatewayError:
    """Return what a gateway's problem document says, or a proxy's bare status."""
    try:
        problem = json.loads(body)
        detail, next_step = str(problem["detail"]), str(problem["next_step"])
    except (ValueError, KeyError, TypeError):
        detail, next_step = f"the gateway, or a proxy before it, answered {status}", f"Check {URL} and {TOKEN}."
    kind = CannotReach if status >= 500 else Refused
    return kind(detail, next_step=next_step)
