"""What one caller made is nothing to another: tasks, sessions, cursors, keys of calls, questions, news."""

import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.views.declared import VMS
from tests.journeys.inprocess import house
from tests.rights.test_paths import TRIES, counting
from tests.transports.mcp_fixtures import HEADERS, asked, begin, events, modern, open_stream, soon
from tests.transports.test_sight import key

ABSENT_JOB = "0123456789abcdef"
STOP = {"id": "web-1", "wait_timeout": 600, "force_after_timeout": False}
LISTED = {"uri": "vergeos://vms/list"}
CAPABLE = {"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
YES = {"action": "accept", "content": {"answer": True}}
UNSAID = {"id": "web-1", "wait_timeout": 1}
NO = {"action": "accept", "content": {"answer": False}}
OTHERS = pytest.mark.parametrize("other", ["peer", "blind"])
"""Somebody with the same right on everything, and somebody to whom the object of it all is hidden."""


@dataclass(frozen=True)
class Told:
    """All that an answer tells: what is said, and what it made the gateway ask."""

    status: int
    media: str
    text: str
    asked: dict[str, int]


class Front:
    """One gateway, its callers' headers, and what each answer costs."""

    def __init__(self, gateway, who, counted):
        self.gateway, self.who, self._counted = gateway, who, counted
        self.mcp = f"{gateway.url}/mcp"

    async def told(self, method, path, headers, body=None, hide=()) -> Told:
        """Return what is answered; `hide` are the words of it that are the question's own."""
        self._counted.clear()
        self.gateway.sim.reset_counts()
        url = self.gateway.url + path
        async with self.gateway.http.request(method, url, json=body, headers=HEADERS | headers) as reply:
            text = await reply.text()
        for word in hide:
            text = text.replace(word, "…")
        return Told(reply.status, reply.content_type, text, {**self._counted, **self.gateway.sim.requests})

    async def session(self, whose, capabilities=None):
        """Return the headers of a new session."""
        async with aiohttp.ClientSession(headers=HEADERS | self.who[whose]) as http:
            return self.who[whose] | await begin(http, self, capabilities=capabilities)

    async def require_same(self, send, theirs: Any, absent: Any) -> Told:
        """Return what is told of a thing of somebody else's, which is what is told of one that there is not."""
        for _ in range(TRIES):  # a list may have aged between the two
            first, second = await send(absent), await send(theirs)
            if first == second:
                break
        assert first == second
        return first


@asynccontextmanager
async def front_of(sim, settings, workers=0):
    async with house(sim, settings.model_copy(update={"auth_failures_per_minute": 0}), workers=workers) as gateway:
        who = {name: await key(gateway, name, "engineer") for name in ("ann", "peer")}
        who["blind"] = await key(gateway, "blind", "engineer", select=("name=mail-1",))
        with counting() as counted:
            yield Front(gateway, who, counted)


@pytest.fixture
async def front(sim, settings):
    async with front_of(sim, settings.model_copy(update={"mcp_wait_seconds": 0.0})) as built:
        yield built


@pytest.fixture
async def asking(sim, settings):
    """The same with a worker, and with a VM whose guest does not shut down."""
    sim.vm("web-1").ignore_acpi()
    async with front_of(sim, settings, workers=1) as built:
        yield built


def stateless(method, params, name=None):
    meta = {"_meta": {"io.modelcontextprotocol/clientCapabilities": CAPABLE}}
    request = modern(method, params | meta, name=name)
    return request["json"], request["headers"]


async def result_of(front, whose, body, headers):
    answered = await front.told("POST", "/mcp", front.who[whose] | headers, body)
    text = answered.text
    if answered.media == "text/event-stream":
        text = [line for line in text.splitlines() if line.startswith("data: {")][-1].removeprefix("data: ")
    told = json.loads(text)
    return told.get("result", told.get("error"))


async def task_of(front, whose, arguments=STOP):
    call = {"name": "power_off_vm", "arguments": arguments}
    return (await result_of(front, whose, *stateless("tools/call", call, "power_off_vm")))["taskId"]


@OTHERS
@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel", "subscriptions/listen"])
async def test_a_task_of_another_is_no_task(front, other, method):
    task = await task_of(front, "ann")

    async def send(task_id):
        about = {"taskId": task_id, "inputResponses": {"force": YES}}
        listened = {"notifications": {"taskIds": [task_id]}}
        listens = method == "subscriptions/listen"
        body, headers = stateless(method, listened if listens else about, None if listens else task_id)
        return await front.told("POST", "/mcp", front.who[other] | headers, body, hide=[task_id])

    refused = await front.require_same(send, task, ABSENT_JOB)
    assert (refused.status, json.loads(refused.text)["error"]["message"]) == (400, "Unknown task")
    mine = await result_of(front, "ann", *stateless("tasks/get", {"taskId": task}, task))
    assert (mine["taskId"], mine["status"]) == (task, "working")


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_no_method_lists_tasks(front, method):
    await task_of(front, "ann")
    body, headers = stateless(method, {"taskId": ABSENT_JOB}, ABSENT_JOB)
    assert (await result_of(front, "peer", body, headers))["code"] == -32601


SAYINGS = (
    ("POST", {}, asked("ping")),
    ("POST", {}, asked("tools/call", {"name": "list_vms", "arguments": {}})),
    ("POST", {}, {"jsonrpc": "2.0", "id": "q", "result": {"action": "accept"}}),
    ("POST", {}, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    ("GET", {"Last-Event-ID": "0"}, None),
    ("DELETE", {}, None),
)


@OTHERS
async def test_a_session_of_another_is_no_session_and_goes_on_untouched(front, other):
    session = await front.session("ann")
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        async with http.post(front.mcp, json=asked("resources/subscribe", LISTED), headers=session) as reply:
            assert "result" in await reply.json()
        async with open_stream(http, front, session) as stream:
            token = session["Mcp-Session-Id"]
            for method, more, body in SAYINGS:

                async def send(token, method=method, more=more, body=body):
                    shown = session | front.who[other] | more | {"Mcp-Session-Id": token}
                    return await front.told(method, "/mcp", shown, body, hide=[token])

                assert (await front.require_same(send, token, "g" * len(token))).status == 404
            await front.gateway.services.views.patch(VMS, 34, {"status": "paused"}, drop=())
            assert (await soon(anext(events(stream))))["method"] == "notifications/resources/updated"


@OTHERS
async def test_a_stream_of_the_old_transport_takes_messages_of_its_caller_alone(front, other):
    async with (
        aiohttp.ClientSession(headers=front.who["ann"]) as http,
        http.get(f"{front.gateway.url}/sse", headers={"Accept": "text/event-stream"}) as stream,
    ):
        assert await soon(stream.content.readline()) == b"event: endpoint\r\n"
        address = (await soon(stream.content.readline())).decode().removeprefix("data: ").strip()
        path, _, token = address.partition("=")

        async def send(token):
            return await front.told("POST", f"{path}={token}", front.who[other], asked("ping"), hide=[token])

        assert (await front.require_same(send, token, "g" * len(token))).status == 404
        assert (await front.told("POST", address, front.who["ann"], asked("ping", id=7))).status == 202
        assert (await soon(anext(events(stream))))["id"] == 7


async def test_a_question_is_answered_in_the_session_that_it_was_put_to(asking):
    """Neither a session of somebody else, nor his repeated request, has a say in it."""
    vm, ann = asking.gateway.sim.vm("web-1"), asking.who["ann"]
    call = asked("tools/call", {"name": "power_off_vm", "arguments": UNSAID}, id=2)
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        session, foreign = [await asking.session(name, {"elicitation": {}}) for name in ("ann", "peer")]
        async with http.post(asking.mcp, json=call, headers=session) as reply:
            question = await soon(anext(events(reply)))
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": YES}
            async with http.post(asking.mcp, json=answer, headers=foreign) as taken:
                assert taken.status == 202
            [job] = (await asking.gateway.call("GET", "/jobs", headers=ann)).body
            assert (job["state"], vm.power_actions()) == ("input_required", ["poweroff"])
            asks = (await asking.gateway.services.jobs.get(job["id"])).asks.key

            async def send(job_id):
                planned = {"name": "power_off_vm", "arguments": {"id": "db-1", "dry_run": True}}
                more = {"inputResponses": {f"{job_id}.{asks}": YES}}
                body, headers = stateless("tools/call", planned | more, "power_off_vm")
                told = await asking.told("POST", "/mcp", asking.who["peer"] | headers, body, hide=[job_id])
                return re.sub(r'"created_at":[^,]*,', "", told.text)

            await asking.require_same(send, job["id"], ABSENT_JOB)
            await soon(http.post(asking.mcp, json=answer | {"result": NO}, headers=session))
    ended = (await asking.gateway.call("GET", f"/jobs/{job['id']}", headers=ann, wait=30)).body
    assert (ended["problem"]["code"], vm.running) == ("still_running", True)


async def test_a_cursor_of_one_is_none_of_another_with_the_same_right(front):
    for vm in (31, 34, 39):
        await front.gateway.accepted("POST", f"/vms/{vm}/poweroff", {}, front.who["ann"])

    async def page(whose, **more):
        asked_for = {"limit": 1, **more}
        return await front.told("POST", "/tools/list_jobs", front.who[whose], asked_for, hide=more.values())

    async def send(cursor):
        return await page("peer", cursor=cursor)

    cursor = json.loads((await page("ann")).text)["result"]["next"]

    refused = await front.require_same(send, cursor, "g" * len(cursor))
    assert json.loads(refused.text)["code"] == "invalid_argument"
    following = json.loads((await page("ann", cursor=cursor)).text)["result"]
    assert [row["target"]["name"] for row in following["items"]] == ["web-1"]


async def test_one_sealed_thing_is_not_taken_for_another(front):
    for vm in (31, 34):
        await front.gateway.accepted("POST", f"/vms/{vm}/poweroff", {}, front.who["ann"])
    session = await front.session("ann")
    cursor = json.loads((await front.told("POST", "/tools/list_jobs", front.who["ann"], {"limit": 1})).text)
    token, cursor = session["Mcp-Session-Id"], cursor["result"]["next"]
    assert (await front.told("POST", "/mcp", session | {"Mcp-Session-Id": cursor}, asked("ping"))).status == 404
    assert (await front.told("GET", f"/jobs?cursor={token}", front.who["ann"])).status == 400


@OTHERS
async def test_the_same_key_of_a_call_is_another_one_of_each_caller(front, other):
    shown = front.who[other] | {"Idempotency-Key": "deploy-7"}
    first = front.who["ann"] | {"Idempotency-Key": "deploy-7"}
    theirs = await front.gateway.accepted("POST", "/vms/web-1/poweroff", {}, first)
    mine = await front.gateway.accepted("POST", "/vms/mail-1/poweroff", {}, shown)
    assert (mine["owner"], mine["target"]["name"], mine.get("note")) == (other, "mail-1", None)
    assert theirs["id"] != mine["id"]
    used = (await front.gateway.call("POST", "/vms/mail-1/poweron", {}, shown)).problem(422, "idempotency_key_reused")
    assert used["job"] == mine["id"]


async def test_what_is_hidden_can_neither_be_followed_nor_completed(front):
    job = (await front.gateway.accepted("POST", "/vms/web-1/poweroff", {}, front.who["ann"]))["id"]
    blind = front.who["blind"]
    session = await front.session("blind")
    for theirs, absent in ((f"jobs/{job}", f"jobs/{ABSENT_JOB}"), ("vms/34", "vms/999"), ("vms/web-1", "vms/wep-1")):

        async def legacy(uri, method="resources/read"):
            return await front.told("POST", "/mcp", session, asked(method, {"uri": uri}), hide=[uri])

        async def listening(uri):
            body, headers = stateless("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}})
            return await front.told("POST", "/mcp", blind | headers, body, hide=[uri])

        async def subscribing(uri):
            return await legacy(uri, "resources/subscribe")

        for send in (legacy, subscribing, listening):
            told = await front.require_same(send, f"vergeos://{theirs}", f"vergeos://{absent}")
            assert json.loads(told.text)["error"]["message"] == "Resource not found"
    for kind, typed in (("jobs", job[:2]), ("vms", "web"), ("nodes", "n"), ("tenants", "a")):
        template = {"type": "ref/resource", "uri": f"vergeos://{kind}/{{id}}"}
        about = {"ref": template, "argument": {"name": "id", "value": typed}}
        completed = await result_of(front, "blind", asked("completion/complete", about), session)
        assert completed["completion"]["values"] == []


@pytest.mark.parametrize("last", ["", "0", "1"])
async def test_the_events_of_a_hidden_job_are_those_of_no_job(front, last):
    job = (await front.gateway.accepted("POST", "/vms/web-1/poweroff", {}, front.who["ann"]))["id"]

    async def send(job_id):
        shown = front.who["blind"] | ({"Last-Event-ID": last} if last else {})
        return await front.told("GET", f"/jobs/{job_id}/events", shown, hide=[job_id])

    assert (await front.require_same(send, job, ABSENT_JOB)).status == 404
