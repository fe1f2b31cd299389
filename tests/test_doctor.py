"""`vergeos-gateway doctor` says what stands in the way, and what to do about it."""

import pytest
from pydantic import SecretStr

from gateway import doctor
from gateway.services import open_services
from gateway.store.backend import open_backend
from tests.conftest import fast_settings


async def report(settings, *, try_credentials=False):
    async with open_backend(settings) as backend, open_services(settings, backend, worker=True) as services:
        return await doctor.examine(services, backend, try_credentials=try_credentials)


async def test_all_is_well_but_that_no_worker_runs(settings):
    told = await report(settings)
    assert "redis       ok" in told
    assert "vergeos     ok" in told
    assert "NO WORKER RUNS" in told


async def test_a_key_that_sees_less_than_the_platform_counts_is_told(sim, settings):
    sim.add_account("part", "part", "part-key", visible_vms={34})
    told = await report(settings.model_copy(update={"vergeos_api_key": SecretStr("part-key")}))
    assert "sees only 1 of" in told


@pytest.mark.parametrize("down", ["vergeos", "redis"])
async def test_what_does_not_answer_is_named_with_the_next_step(sim, redis_url, down):
    sim.down = down == "vergeos"
    told = await report(fast_settings(sim.url, redis_url if down == "vergeos" else "redis://127.0.0.1:1/0"))
    assert f"{down:<12}FAILS" in told


async def test_refused_credentials_are_tried_again_on_a_persons_word_only(sim, settings):
    sim.revoke_credentials()
    assert "vergeos_unauthorized" in await report(settings)
    sim.restore_credentials()
    assert "vergeos_unauthorized" in await report(settings)
    assert "vergeos     ok" in await report(settings, try_credentials=True)
