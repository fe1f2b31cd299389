import asyncio, time
from test_journey_jobs import *
import cProfile, pstats
async def test_dbg(redis_url):
    async with Simulator(SimulatorSettings(vms=170, seed=7, time_scale=20.0)) as sim:
        slow_machine = {"request": 20.0, "step": 25.0, "lease": 40.0, "settle": 30.0}
        settings = engine_settings(sim, redis_url, **slow_machine, watch_fast_until=600.0)
        rows = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
        vms = [vm.ignore_acpi() for vm in rows if vm.running][:100]
        async with house(sim, settings, workers=2) as gateway:
            pr = cProfile.Profile(); pr.enable()
            t=time.monotonic(); 
            def lap(n):
                nonlocal t; print(n, round(time.monotonic()-t,2)); t=time.monotonic()
            jobs = await asyncio.gather(*(gateway.power_off(vm, **LONG) for vm in vms)); lap("submitted")
            await eventually(lambda: len(sim.actions) == 100, 20); lap("asked")
            await eventually(lambda: all_waiting(gateway)); lap("waiting")
            pr.disable(); pstats.Stats(pr).sort_stats("cumulative").print_stats(60)
            before = sim.requests.copy()
            await eventually(lambda: sim.requests["GET machine_status"] >= before["GET machine_status"] + 5); lap("ticks")
            for vm in vms:
                vm.stop()
            ended = [await gateway.ended(job["id"], 20) for job in jobs]; lap("ended")
        lap("closed")
