"""A small identity provider in the test's process, which signs whatever token a test wants."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

RSA, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


class Provider:
    """A small identity provider that counts who asks for its keys."""

    def __init__(self):
        self.keys = {"one": RSA}
        self.asked = 0
        self.issuer = ""
        self.odd = []
        self.held = asyncio.Event()
        self.held.set()

    def jwks(self):
        found = [*self.odd]
        for kid, key in self.keys.items():
            algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
            found.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"})
        return found

    async def discovery(self, _request):
        return web.json_response({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"})

    async def certs(self, request):
        self.asked += 1
        told, answer = json.dumps({"keys": self.jwks()}).encode(), web.StreamResponse()
        await answer.prepare(request)
        await answer.write(told[:100])
        await self.held.wait()
        await answer.write(told[100:])
        return answer

    def token(self, key=RSA, kid="one", algorithm="RS256", **claims):
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "gateway", "sub": "ann", "exp": now + 300, "iat": now}
        usual |= {"scope": "vergeos:all"} | claims
        said = {name: value for name, value in usual.items() if value is not None}
        return jwt.encode(said, key, algorithm, headers={"kid": kid})


@asynccontextmanager
async def identity_provider():
    """Serve a provider on loopback while the block lasts."""
    made, app = Provider(), web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.discovery)
    app.router.add_get("/keys", made.certs)
    async with TestServer(app) as server:
        made.issuer = str(server.make_url("")).rstrip("/")
        yield made
