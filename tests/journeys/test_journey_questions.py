""" "web-1 still runs after 1 s. Force it off?": asked and answered on every face, settled by whoever comes first."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager

import aiohttp
import mcp_types as t
import pytest
from inprocess import engine_settings, house
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.conftest import PATIENCE_SECONDS, eventually
from tests.transports.mcp_fixtures import HEADERS, asked, begin, events, modern, soon

QUESTION = "web-1 still runs after 1 s. Force it off?"
UNSAID = {"id": "web-1", "wait_timeout": 1}
TASKS = "io.modelcontextprotocol/tasks"
CAPABLE = {"elicitation": {}, "extensions": {TASKS: {}}}
YES = {"action": "accept", "content": {"answer": True}}


@pytest.fixture
def vm(sim):
    return sim.vm("web-1").ignore_acpi()


@pytest.fixture
async def gateway(sim, redis_url, vm):
    async with house(sim, engine_settings(sim, redis_url)) as served:
        yield served


@pytest.fixture
async def other(gateway):
    """Another replica on the same Redis."""
    async with house(gateway.sim, gateway.settings, workers=0) as served:
        yield served


class Person:
    """Somebody in front of a client, who answers as told and remembers what he was asked."""

    def __init__(self, action="accept", *, answer=True):
        self.answer = t.ElicitResult(action=action, content={"answer": answer} if action == "accept" else None)
        self.asked = []

    async def __call__(self, ctx, params):
        self.asked.append(params.message)
        return self.answer


@asynccontextmanager
async def client_of(gateway, mode, person=None):
    async with Client(f"{gateway.url}/mcp", mode=mode, elicitation_callback=person) as client:
        yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_person_says_yes_through_his_client_and_the_power_is_cut(gateway, vm, mode):
    person = Person()
    async with client_of(gateway, mode, person) as client:
        result = await client.call_tool("power_off_vm", UNSAID)
    assert person.asked == [QUESTION]
    assert (result.structured_content["state"], result.structured_content["result"]["forced"]) == ("completed", True)
    assert vm.power_actions() == ["poweroff", "kill"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("person", [Person("decline"), Person("cancel"), Person(answer=False)])
async def test_anything_but_a_yes_leaves_the_vm_running(gateway, vm, mode, person):
    async with client_of(gateway, mode, person) as client:
        result = await client.call_tool("power_off_vm", UNSAID)
    assert result.is_error
    assert result.structured_content["problem"]["code"] == "still_running"
    assert (vm.power_actions(), vm.running) == (["poweroff"], True)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_can_ask_nobody_is_not_asked(gateway, vm, mode):
    async with client_of(gateway, mode) as client:
        result = await client.call_tool("power_off_vm", UNSAID)
    assert result.structured_content["problem"]["code"] == "still_running"
    assert vm.power_actions() == ["poweroff"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_who_said_whether_to_force_is_not_asked(gateway, vm, mode):
    person = Person()
    async with client_of(gateway, mode, person) as client:
        result = await client.call_tool("power_off_vm", UNSAID | {"force_after_timeout": False})
    assert (person.asked, result.structured_content["state"]) == ([], "failed")


@pytest.mark.parametrize("mode", [pytest.param("legacy", marks=pytest.mark.slow), "auto"])
async def test_a_person_is_asked_over_stdio_as_well(gateway, vm, mode):
    env = os.environ | {
        "VERGEOS_HOST": gateway.sim.url,
        "VERGEOS_API_KEY": "demo",
        "REDIS_URL": gateway.settings.redis_url.get_secret_value(),
        "ENGINE_SPEED": "10",
        "VERGEOS_REQUESTS_PER_SECOND": "0",
        "VERGEOS_MAX_CONCURRENT": str(gateway.settings.vergeos_max_concurrent),  # a limit of all processes together
    }
    command = StdioServerParameters(command=sys.executable, args=["-m", "gateway", "stdio"], env=env)
    person = Person()
    async with Client(stdio_client(command), mode=mode, elicitation_callback=person) as client:
        result = await client.call_tool("power_off_vm", UNSAID)
    assert (person.asked, result.structured_content["result"]["forced"]) == ([QUESTION], True)
    assert vm.power_actions() == ["poweroff", "kill"]


async def begin_asking(http, gateway):
    """Begin a session that can ask a person, and a power-off in it; return session, reply and its events."""
    session = await begin(http, Address(gateway), capabilities={"elicitation": {}})
    call = asked("tools/call", {"name": "power_off_vm", "arguments": UNSAID}, id=2)
    return session, call


class Address:
    """What `begin` wants of a gateway."""

    def __init__(self, gateway):
        self.mcp = f"{gateway.url}/mcp"


async def test_an_answer_over_rest_settles_the_question_and_the_client_hears_that_it_is_over(gateway, other, vm):
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        session, call = await begin_asking(http, gateway)
        async with http.post(f"{gateway.url}/mcp", json=call, headers=session) as reply:
            told = events(reply)
            question = await soon(anext(told))
            assert question["params"]["message"] == QUESTION
            [job] = (await other.get("/jobs")).body
            assert (job["state"], job["question"]) == ("input_required", QUESTION)
            answered = await other.call("POST", f"/jobs/{job['id']}/input", {"answer": True})
            assert answered.body["state"] == "working"
            over = await soon(anext(told))
            assert (over["method"], over["params"]["requestId"]) == ("notifications/cancelled", question["id"])
            assert (await soon(anext(told)))["result"]["structuredContent"]["result"]["forced"] is True
    assert vm.power_actions() == ["poweroff", "kill"]


async def test_a_force_off_by_somebody_settles_the_question_at_once(gateway, vm):
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        session, call = await begin_asking(http, gateway)
        async with http.post(f"{gateway.url}/mcp", json=call, headers=session) as reply:
            told = events(reply)
            await soon(anext(told))
            forced = await gateway.accepted("POST", "/vms/web-1/forceoff")
            assert (await soon(anext(told)))["method"] == "notifications/cancelled"
            assert (await soon(anext(told)))["result"]["structuredContent"]["state"] == "completed"
            assert (await gateway.ended(forced["id"]))["state"] == "completed"
    assert vm.power_actions() == ["poweroff", "kill"]


async def test_a_cancel_settles_the_question_at_once(gateway, vm):
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        session, call = await begin_asking(http, gateway)
        async with http.post(f"{gateway.url}/mcp", json=call, headers=session) as reply:
            told = events(reply)
            await soon(anext(told))
            [job] = (await gateway.get("/jobs")).body
            await gateway.call("POST", f"/jobs/{job['id']}/cancel")
            assert (await soon(anext(told)))["method"] == "notifications/cancelled"
            assert (await soon(anext(told)))["result"]["structuredContent"]["state"] == "cancelled"
    assert vm.power_actions() == ["poweroff"]


async def test_no_answer_in_time_means_no(sim, redis_url, vm):
    hurried = engine_settings(sim, redis_url, answer_within=15)  # a second and a half here
    async with house(sim, hurried) as gateway, aiohttp.ClientSession(headers=HEADERS) as http:
        session, call = await begin_asking(http, gateway)
        async with http.post(f"{gateway.url}/mcp", json=call, headers=session) as reply:
            told = events(reply)
            await soon(anext(told))
            assert (await soon(anext(told)))["method"] == "notifications/cancelled"
            problem = (await soon(anext(told)))["result"]["structuredContent"]["problem"]
    assert (problem["code"], vm.power_actions()) == ("still_running", ["poweroff"])


# as results that want input


def stateless(method, params, *, name, capabilities=CAPABLE):
    return modern(method, params | {"_meta": {"io.modelcontextprotocol/clientCapabilities": capabilities}}, name=name)


async def sent(gateway, request, status=200):
    async with aiohttp.ClientSession(headers=HEADERS) as http, http.post(f"{gateway.url}/mcp", **request) as reply:
        assert reply.status == status, await reply.text()
        body = await reply.json() if reply.content_type == "application/json" else [m async for m in events(reply)][-1]
        return body.get("result") or body["error"]


def power_off(capabilities=CAPABLE, **more):
    params = {"name": "power_off_vm", "arguments": UNSAID, **more}
    return stateless("tools/call", params, name="power_off_vm", capabilities=capabilities)


async def test_a_result_that_wants_input_is_answered_at_another_replica(gateway, other, vm):
    only_form = {"elicitation": {"form": {}}}
    wants = await sent(gateway, power_off(only_form))
    assert wants["resultType"] == "input_required"
    [(key, request)] = wants["inputRequests"].items()
    assert request["params"]["message"] == QUESTION
    done = await sent(other, power_off(only_form, inputResponses={key: YES}))
    assert done["structuredContent"]["result"]["forced"] is True
    again = await sent(other, power_off(only_form, inputResponses={key: YES}))  # the answer was lost on its way
    assert again["structuredContent"]["id"] == done["structuredContent"]["id"]
    assert vm.power_actions() == ["poweroff", "kill"]


async def test_an_answer_to_another_question_is_none(gateway, vm):
    only_form = {"elicitation": {}}
    [key] = (await sent(gateway, power_off(only_form)))["inputRequests"]
    job_id = key.partition(".")[0]
    wants = await sent(gateway, power_off(only_form, inputResponses={f"{job_id}.force-1": YES, "nonsense": YES}))
    assert wants["resultType"] == "input_required"
    wrong = await sent(gateway, power_off(only_form, inputResponses={key: {"roots": []}}), 400)
    assert wrong["code"] == -32602
    assert vm.power_actions() == ["poweroff"]


# as tasks


async def task_at(gateway, task_id, status):
    """Return the task once it has this status."""

    async def there():
        task = await sent(gateway, stateless("tasks/get", {"taskId": task_id}, name=task_id))
        return task if task["status"] == status else None

    return await eventually(there)


async def test_a_task_of_one_replica_asks_is_answered_and_ends_at_another(gateway, other, vm):
    task = await sent(gateway, power_off())
    assert (task["resultType"], task["status"]) == ("task", "working")
    assert {"createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"} <= set(task)
    wants = await task_at(other, task["taskId"], "input_required")
    [(key, request)] = wants["inputRequests"].items()
    assert (request["method"], request["params"]["message"]) == ("elicitation/create", QUESTION)
    answer = {"taskId": task["taskId"], "inputResponses": {key: YES}}
    assert (await sent(other, stateless("tasks/update", answer, name=task["taskId"])))["resultType"] == "complete"
    done = await task_at(gateway, task["taskId"], "completed")
    assert done["result"]["structuredContent"]["result"]["forced"] is True
    assert vm.power_actions() == ["poweroff", "kill"]
    same = await sent(other, power_off())
    assert (same["taskId"], same["status"]) == (task["taskId"], "completed")


async def test_every_tool_that_makes_a_job_makes_a_task_and_a_dry_run_makes_none(gateway):
    call = {"name": "power_on_vm", "arguments": {"id": "db-1", "dry_run": True}}
    planned = await sent(gateway, stateless("tools/call", call, name="power_on_vm"))
    assert (planned["resultType"], planned["structuredContent"]["state"]) == ("complete", "planned")
    read = await sent(gateway, stateless("tools/call", {"name": "list_vms", "arguments": {}}, name="list_vms"))
    assert read["resultType"] == "complete"


async def test_a_task_whose_job_failed_is_completed_with_an_error(gateway, vm):
    task = await sent(gateway, power_off({"extensions": {TASKS: {}}}))  # nobody can be asked
    done = await task_at(gateway, task["taskId"], "completed")
    assert done["result"]["isError"] is True
    assert done["result"]["structuredContent"]["problem"]["code"] == "still_running"


async def test_a_task_is_cancelled_and_cancelling_it_again_changes_nothing(gateway, vm):
    task_id = (await sent(gateway, power_off()))["taskId"]
    for _ in range(2):
        cancelled = await sent(gateway, stateless("tasks/cancel", {"taskId": task_id}, name=task_id))
        await gateway.services.audit.flush()
        newest = (await gateway.services.audit.newest(20))[::-1]
        assert next(entry["face"] for entry in newest if entry.get("tool") == "cancel_job") == "mcp"
        assert cancelled["resultType"] == "complete"
        await task_at(gateway, task_id, "cancelled")
    late = {"taskId": task_id, "inputResponses": {"force-1": YES}}
    assert (await sent(gateway, stateless("tasks/update", late, name=task_id)))["resultType"] == "complete"
    assert "kill" not in vm.power_actions()


async def test_tasks_that_are_not_there_and_clients_that_take_none_are_refused(gateway, vm):
    task_id = (await sent(gateway, power_off()))["taskId"]
    for unknown in ("0123456789abcdef", "x"):
        missing = await sent(gateway, stateless("tasks/get", {"taskId": unknown}, name=unknown), 400)
        assert (missing["code"], missing["message"]) == (-32602, "Unknown task")
    for method in ("tasks/get", "tasks/cancel", "tasks/update"):
        params = {"taskId": task_id, "inputResponses": {}}
        refused = await sent(gateway, stateless(method, params, name=task_id, capabilities={}), 400)
        assert refused["code"] == -32021
        assert refused["data"] == {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        assert (await sent(gateway, stateless(method, params, name="other"), 400))["code"] == -32020
    [key] = (await task_at(gateway, task_id, "input_required"))["inputRequests"]
    for name, status in ((key, 400), ("force-1", 200)):
        wrong = {"taskId": task_id, "inputResponses": {name: {"action": "maybe"}}}
        await sent(gateway, stateless("tasks/update", wrong, name=task_id), status)
    assert vm.power_actions() == ["poweroff"]


async def test_who_listens_to_a_task_hears_what_becomes_of_it(gateway, other, vm):
    task_id = (await sent(gateway, power_off({"extensions": {TASKS: {}}})))["taskId"]
    request = stateless("subscriptions/listen", {"notifications": {"taskIds": [task_id]}}, name=None)
    async with aiohttp.ClientSession(headers=HEADERS) as http, http.post(f"{other.url}/mcp", **request) as reply:
        told = events(reply)
        assert (await soon(anext(told)))["params"]["notifications"] == {"taskIds": [task_id]}
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for message in told:
                assert message["method"] == "notifications/tasks"
                assert message["params"]["taskId"] == task_id
                assert message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 1
                if message["params"]["status"] == "completed":
                    break
    assert message["params"]["result"]["isError"] is True
    refused = stateless("subscriptions/listen", {"notifications": {"taskIds": [task_id]}}, name=None, capabilities={})
    assert (await sent(gateway, refused, 400))["code"] == -32021
