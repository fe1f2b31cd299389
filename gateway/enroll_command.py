"""`vergeos-gateway enroll`: a person hands his own VergeOS key to the gateway, over its REST door and no other."""

import argparse
import getpass
import os
import sys
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from gateway.core.errors import GatewayError
from gateway.transports.bridge import TOKEN, Remote

PATH = "/me/vergeos-key"
SECONDS = 30.0


class NotTaken(GatewayError):
    """The gateway did not take the key."""

    code = "not_taken"
    next_step = "Check VERGEOS_MCP_URL and VERGEOS_MCP_TOKEN."


async def run(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> None:
    """Ask for the key without showing it, hand it over, and print whose it is; with `forget` take it back.

    Raises `CannotBridge` where the environment names no gateway, `NotTaken`.
    """
    if options.forget:
        print((await _sent("DELETE", {}, environment))["detail"])
        return
    typed = getpass.getpass("VergeOS API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    enrolment = await _sent("PUT", {"api_key": typed.strip(), "user": options.user}, environment)
    print(f"changes by {enrolment['person']} are made as VergeOS user {enrolment['vergeos_user']} from now on")


async def _sent(method: str, body: Mapping[str, Any], environment: Mapping[str, str]) -> Mapping[str, Any]:
    remote, token = Remote.of(environment), environment.get(TOKEN)
    url, headers = remote.url.removesuffix("/mcp") + PATH, {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http,
            http.request(method, url, data=orjson.dumps(body), headers=headers, ssl=remote.tls) as response,
        ):
            answer = orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise NotTaken(f"{remote.url}: no answer that can be read ({type(exc).__name__})") from None
    if response.status != 200:
        raise NotTaken(str(answer.get("detail", response.status)), next_step=str(answer.get("next_step", "")))
    return dict(answer)
