"""The real Traefik before some gateways, with the settings of the shipped IngressRoute."""

import asyncio
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import yaml

from tests.conftest import eventually, free_port
from tests.deploy.programs import ROOT, documents, program

HOST = "vergeos-mcp.example.com"


class Ingress:
    """A running Traefik; `serve` tells it which gateways there are, as Kubernetes would."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self._folder = folder
        self.http = http
        self.url = f"https://127.0.0.1:{free_port()}"
        self._api = f"http://127.0.0.1:{free_port()}"

    def configure(self) -> Path:
        """Write Traefik's own configuration; return its path."""
        path = self._folder / "traefik.yml"
        entry_points = {"websecure": {"address": self.url.removeprefix("https://")}}
        entry_points["traefik"] = {"address": self._api.removeprefix("http://")}
        watched = {"file": {"filename": str(self._folder / "dynamic.yml"), "watch": True}}
        static = {
            "entryPoints": entry_points,
            "providers": watched,
            "api": {"insecure": True},
            "log": {"level": "ERROR"},
        }
        path.write_text(yaml.safe_dump(static))
        return path

    def write(self, *ports: int) -> None:
        """Write the shipped objects as Traefik's file provider takes them, with these gateways behind."""
        kinds = {it["kind"]: it for it in documents((ROOT / "k8s/components/traefik/ingress-route.yaml").read_text())}
        (route,) = kinds["IngressRoute"]["spec"]["routes"]
        (service,) = route["services"]
        middleware, transport = kinds["Middleware"], kinds["ServersTransport"]
        assert [it["name"] for it in route["middlewares"]] == [middleware["metadata"]["name"]]
        router = {
            "rule": route["match"],
            "entryPoints": kinds["IngressRoute"]["spec"]["entryPoints"],
            "middlewares": [middleware["metadata"]["name"]],
            "service": service["name"],
            "tls": {},
        }
        balancer = {
            "servers": [{"url": f"http://127.0.0.1:{port}"} for port in ports],
            "serversTransport": service["serversTransport"],
            "responseForwarding": service["responseForwarding"],
        }
        http = {
            "routers": {"vergeos-mcp": router},
            "services": {service["name"]: {"loadBalancer": balancer}},
            "middlewares": {middleware["metadata"]["name"]: middleware["spec"]},
            "serversTransports": {transport["metadata"]["name"]: transport["spec"]},
        }
        new = self._folder / "new.yml"
        new.write_text(yaml.safe_dump({"http": http}))
        new.replace(self._folder / "dynamic.yml")  # Traefik must not read half a file

    async def serve(self, *ports: int) -> None:
        """Send requests to these gateways and no others; return once Traefik does so."""
        self.write(*ports)
        wanted = {f"http://127.0.0.1:{port}" for port in ports}

        async def known():
            with suppress(aiohttp.ClientError):
                async with self.http.get(f"{self._api}/api/http/services/vergeos-mcp@file") as reply:
                    told = await reply.json()
                    return {it["url"] for it in told.get("loadBalancer", {}).get("servers", ())} == wanted
            return False

        await eventually(known, 20)


@asynccontextmanager
async def ingress(folder: Path, *ports: int):
    """Run Traefik before the gateways at these loopback ports while the block lasts."""
    headers = {"Host": HOST, "Accept": "application/json, text/event-stream"}
    connector = aiohttp.TCPConnector(ssl=False)  # Traefik made its certificate itself
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:
        running = Ingress(folder, http)
        running.write(*ports)
        command = [program("traefik"), f"--configFile={running.configure()}"]
        process = subprocess.Popen(  # noqa: ASYNC220  it answers by HTTP
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await running.serve(*ports)
            yield running
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 10)
