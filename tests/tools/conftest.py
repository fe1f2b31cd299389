"""Tools as a caller uses them: real services over the simulated VergeOS and a real Redis."""

import pytest

from gateway.calls import Call, Face, run
from gateway.core.access import LOCAL
from gateway.services import open_services
from gateway.store.backend import open_backend
from gateway.tools import CATALOG


@pytest.fixture
async def services(settings, sim):
    """The services of one gateway process; the simulator's counts begin at 0."""
    async with open_backend(settings) as backend, open_services(settings, backend) as opened:
        sim.reset_counts()
        yield opened


@pytest.fixture
def call(services):
    """Use a tool by its name: `answer = await call("get_vm", id=34)`; `caller` says who calls."""

    async def use(tool_name, *, caller=LOCAL, **arguments):
        return await run(CATALOG[tool_name], arguments, Call(services, caller, Face.REST))

    return use
