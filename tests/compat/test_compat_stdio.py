"""`echo '…' | vergeos-gateway stdio`, with the environment that a desktop client gives its server."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE

from gateway.simulator import Simulator, SimulatorSettings
from tests.compat.promises import TOOLS

ECHOED = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n'


async def test_an_echoed_request_is_answered_by_one_line_and_the_program_ends(redis_url):
    async with Simulator(SimulatorSettings(vms=20)) as sim, asyncio.timeout(30):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "REDIS_URL": redis_url,
            "VERGEOS_HOST": sim.url,
            "VERGEOS_USER": "admin",
            "VERGEOS_PASS": "demo",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "stdio"), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
        )
        answered, errors = await process.communicate(ECHOED)
    assert process.returncode == 0, errors
    (line,) = answered.splitlines()
    told = json.loads(line)
    assert told["id"] == 1
    assert {promise.name for promise in TOOLS} <= {tool["name"] for tool in told["result"]["tools"]}
