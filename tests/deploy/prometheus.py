"""A real Prometheus that scrapes what it is told and evaluates the shipped rules."""

import asyncio
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.conftest import eventually, free_port
from tests.deploy.programs import ROOT, program

START_SECONDS = 30


class Prometheus:
    """Answers queries about what was scraped."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def api(self, path: str, **query: Any) -> Any:
        async with self._http.get(f"{self._url}/api/v1/{path}", params=query) as response:
            told = await response.json()
            assert told["status"] == "success", told
            return told["data"]

    async def value(self, query: str) -> list[dict[str, Any]]:
        """Return what a query answers now."""
        return (await self.api("query", query=query))["result"]

    async def series(self, query: str, begin: float, end: float, step: int = 1) -> list[dict[str, Any]]:
        """Return what a query answered from `begin` to `end` (Unix seconds), every `step` seconds."""
        return (await self.api("query_range", query=query, start=begin, end=end, step=step))["result"]

    async def has_seen(self, moment: float) -> None:
        """Return once everybody was scraped after this moment (Unix seconds)."""

        async def all_since() -> bool:
            return all(float(found["value"][1]) > moment for found in await self.value("timestamp(up)"))

        await eventually(all_since)

    async def up(self) -> int:
        return sum(float(found["value"][1]) == 1 for found in await self.value("up"))


@asynccontextmanager
async def prometheus(folder: Path, jobs: dict[str, list[int]]):
    """Scrape the loopback ports of each job every second, with the shipped rules, while the block lasts."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "k8s/rules/vergeos-gateway.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for job, ports in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(  # noqa: ASYNC220  it answers by HTTP
        [
            program("prometheus", "apt install prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={url.removeprefix('http://')}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as http:
            running = Prometheus(http, url)

            async def all_are_up():
                try:
                    return await running.up() == sum(map(len, jobs.values()))
                except aiohttp.ClientError:
                    return False

            await eventually(all_are_up, START_SECONDS)
            yield running
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)
