"""Find, overview, diagnoses and history: several reads joined into one answer that says the worst first."""

from pydantic import SecretStr

from tests.journeys.inprocess import house


async def test_find_answers_ids_of_every_kind_by_part_of_a_name(call):
    page = (await call("find", name="WEB")).value
    assert {(hit.kind, hit.name) for hit in page.items} >= {("vm", "web-1"), ("vm", "web-2"), ("network", "web-1")}
    assert page.total == len(page.items)
    assert (await call("find", name="no such thing")).value.total == 0


async def test_find_counts_what_it_does_not_show(call):
    page = (await call("find", name="e", limit=2)).value
    assert len(page.items) == 2
    assert page.total > 2


async def test_the_overview_counts_what_the_platform_has(call, sim):
    shown = (await call("get_overview")).value
    vms = [row for row in sim.world.db["vms"] if not row.get("is_snapshot")]
    assert shown.vms == len(vms)
    assert shown.vms_running == sim.state()["running"]
    assert shown.tiers_used_percent["5"] > 90
    assert shown.alarms[0].startswith("critical")
    assert shown.you == "local"
    assert "admin" in shown.you_may
    assert shown.hidden is None


async def test_the_overview_says_what_its_key_does_not_see(sim, settings):
    sim.add_account("part", "part", "part-key", visible_vms={34, 30})
    limited = settings.model_copy(update={"vergeos_api_key": SecretStr("part-key")})
    async with house(sim, limited, workers=0) as built:
        shown = (await built.get("/overview")).body
    assert shown["vms"] == 2
    assert "sees only 2 of" in shown["hidden"]


async def test_a_diagnosis_of_a_sound_vm_finds_nothing_wrong_but_shows_its_parts(call):
    diagnosis = (await call("diagnose_vm", id="web-2")).value
    assert diagnosis.kind == "vm"
    assert diagnosis.state["status"] == "running"
    assert diagnosis.parts["drives"]
    assert diagnosis.parts["nics"]


async def test_a_diagnosis_says_what_is_wrong_with_a_vm(call, sim):
    vm = sim.vm("web-1")
    sim.world.db["vms"].rows[vm.key]["need_restart"] = True
    sim.world.db["vms"].rows[vm.key]["enabled"] = False
    diagnosis = (await call("diagnose_vm", id="web-1")).value
    assert "it is disabled" in diagnosis.wrong
    assert "a change awaits a power cycle" in diagnosis.wrong


async def test_a_diagnosis_of_a_tenant_shows_nodes_and_storage(call):
    diagnosis = (await call("diagnose_tenant", id=1)).value
    assert diagnosis.parts["nodes"]
    assert diagnosis.parts["storage"]
    assert diagnosis.state["status"]


async def test_a_history_is_one_time_line_of_our_jobs_and_of_vergeos_own_lines(sim, settings):
    async with house(sim, settings) as built:
        job = await built.power_off(sim.vm("web-1"))
        await built.ended(job["id"])
        moments = (await built.get("/history", vm="web-1")).body
    assert {moment["whose"] for moment in moments} == {"gateway", "vergeos"}
    assert [moment["at"] for moment in moments] == sorted((moment["at"] for moment in moments), reverse=True)
    assert job["id"] in {moment.get("job") for moment in moments}
