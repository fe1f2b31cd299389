"""`python -m tests.deploy.pictures`: what each dashboard shows under load, drawn into dist/dashboards/*.png.

A real Prometheus answers the panels' queries; `draw.py` draws the answers with matplotlib, which is in .venv-tools.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.embedded import server_binary
from tests.conftest import RedisServer
from tests.deploy.loaded import boards, filled_in, loaded
from tests.deploy.programs import OURS, ROOT
from tests.journeys.conftest import System

SPEED = 10.0
OUT = ROOT / "dist" / "dashboards"


async def answers(folder: Path) -> list[dict]:
    """Return for each dashboard its panels, with what their queries answered while the load ran."""
    redis = RedisServer(str(server_binary()), folder)
    redis.start()
    async with Simulator(SimulatorSettings(vms=120, seed=7, time_scale=SPEED)) as sim:
        system = System(sim, redis.gateway_url, folder)
        system.environment["ENGINE_SPEED"] = str(SPEED)
        try:
            async with loaded(system, folder) as seen:
                return [
                    {"board": board, "panels": [await _answered(seen, panel) for panel in panels]}
                    for board, panels in boards()
                ]
        finally:
            await system.stop()
            redis.stop()


async def _answered(seen, panel) -> dict:
    series = []
    for target in panel["targets"]:
        for found in await seen.known.series(filled_in(target["expr"]), seen.since, time.time()):
            legend = target["legendFormat"]
            for name, value in found["metric"].items():
                legend = legend.replace(f"{{{{{name}}}}}", value)
            series.append(
                {"legend": legend, "values": [[at - seen.since, float(value)] for at, value in found["values"]]}
            )
    defaults = panel["fieldConfig"]["defaults"]
    return {
        "title": panel["title"],
        "kind": panel["type"],
        "unit": defaults["unit"],
        "place": panel["gridPos"],
        "series": series,
    }


def main() -> None:
    """Run the load, ask, draw."""
    OUT.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="pictures-"))
    try:
        (OUT / "answers.json").write_text(json.dumps(asyncio.run(answers(folder))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([OURS / "python", ROOT / "tests/deploy/draw.py", OUT], check=True)


if __name__ == "__main__":
    main()
