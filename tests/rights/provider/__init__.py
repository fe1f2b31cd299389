"""A real identity provider (npm's `oidc-provider`) on loopback, whose keys a test may change while it serves."""

import asyncio
import json
import os
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

HERE = Path(__file__).parent
START_SECONDS = 30
REDIRECT = "http://127.0.0.1:1/callback"
"""Where the client `desktop` is sent back to; nobody listens there, for the address alone tells the code."""


def secret_of(client):
    return f"{client}-has-a-secret-of-some-length"


def signing_key(kid, algorithm="RS256"):
    """Return a new private key as a JWK."""
    if algorithm == "RS256":
        told = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048))
    else:
        told = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()))
    return json.loads(told) | {"kid": kid, "use": "sig", "alg": algorithm}


class Provider:
    """The provider's process; `asked` counts the requests that it got, by path."""

    def __init__(self, process):
        self._process = process
        self._ready = asyncio.Queue()
        self.asked = Counter()
        self.issuer = ""

    async def sign_with(self, *keys):
        """Be a provider of these keys and of no others, at the same address; without any be away."""
        self._process.stdin.write(json.dumps(keys).encode() + b"\n")
        async with asyncio.timeout(START_SECONDS):
            self.issuer = await self._ready.get()

    async def hear(self):
        """Take what the process tells until it ends."""
        async for line in self._process.stdout:
            told = json.loads(line)
            if "issuer" in told:
                self._ready.put_nowait(told["issuer"])
            else:
                self.asked[told["asked"]] += 1

    async def token(self, client, resource, scope):
        """Return an access token that a client gets for itself, as a JWT."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
        who = {"Authorization": aiohttp.encode_basic_auth(client, secret_of(client))}
        async with (
            aiohttp.ClientSession(headers=who) as http,
            http.post(f"{self.issuer}/token", data=form) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return (await answer.json())["access_token"]


async def signed_in(url, person):
    """Sign in at the provider's pages as a person, and consent; return what the redirect to the client says."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        for _ in range(12):
            form = {"prompt": "login", "login": person, "password": "any"} if "/interaction/" in url else None
            async with http.get(url, allow_redirects=False) as answer:
                page = await answer.text()
            if form is not None and answer.status == 200:
                form = form if 'value="login"' in page else {"prompt": "consent"}
                async with http.post(url, data=form, allow_redirects=False) as answer:
                    pass
            url = urljoin(url, answer.headers["Location"])
            if url.startswith(REDIRECT):
                return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    raise AssertionError(f"never came back from {url}")


@asynccontextmanager
async def provider(*keys):
    """Serve a provider of these keys; its packages are installed already."""
    path = f"{HERE / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", "provider.mjs", cwd=HERE, env={"PATH": path}, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    made = Provider(process)
    hearing = asyncio.create_task(made.hear())
    try:
        await made.sign_with(*keys)
        yield made
    finally:
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        await hearing
