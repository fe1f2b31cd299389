"""A gateway on the simulated VergeOS, as the predecessor's readers meet it."""

import pytest

from tests.compat.standing import gateway_on


@pytest.fixture
async def gateway(redis_url):
    """A served gateway of this test alone; modules that only read share one."""
    async with gateway_on(redis_url) as served:
        yield served


@pytest.fixture
def sim(gateway):
    """The VergeOS behind the gateway."""
    return gateway.sim


@pytest.fixture
def tool(gateway):
    """Call a tool as the predecessor's clients do, `await tool("get_vm", id=34)`; return what stands under `result`."""

    async def call(name, /, **arguments):
        answered = await gateway.call("POST", f"/tools/{name}", arguments)
        assert 200 <= answered.status < 300, answered.text
        assert next(iter(answered.body)) == "result"  # what is new stands behind it
        return answered.body["result"]

    return call


@pytest.fixture
def done(gateway):
    """Return a job's record once it has completed."""

    async def completed(job):
        ended = await gateway.ended(job["id"])
        assert ended["state"] == "completed", ended
        return ended

    return completed


@pytest.fixture
def rows(sim):
    """Return the rows of one of VergeOS' tables that have these values."""

    def select(table, **wanted):
        sim.world.db.clock.settle()
        columns = sim.world.db[table].schema.columns
        return [
            row
            for row in sim.world.db[table]
            if all(row.get(name, columns[name].default) == value for name, value in wanted.items())
        ]

    return select
