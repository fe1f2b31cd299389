"""What one may not see does not exist for him: over every door, by name, id, job, count and error text."""

import json
import re
import time

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gateway.core.access import CallerKind
from gateway.core.tool import Effect
from gateway.rights.issuing import issue
from gateway.store.api_keys import NewKey
from gateway.tools import CATALOG
from tests.conftest import eventually
from tests.journeys.inprocess import engine_settings, house
from tests.test_catalog import READS

SEEN = {35, 36, 37, 38}  # app-1, app-2, mail-1, app-100
HIDDEN_NAMES = ("cache-100", "test-vm", "nas-1", "db-1", "web-2", "External", "DMZ", "Physical 1", "globex", "node1")
HIDDEN_NAMES += ("node2", "node3", "lab (off)", "edge")
ARGUMENTS = {
    **{tool: {**given, "id": "app-1"} for tool, given in READS.items() if given.get("id") in ("web-1", 34)},
    "history": {"vm": "app-1"},
    "find": {"name": "a"},
    "list_vms": {},
    "list_networks": {},
    "get_logs": {"limit": 200},
}
READING = [
    tool for tool in CATALOG if tool.effect is Effect.READ and tool.permission == "read" and tool.name != "get_job"
]


@pytest.fixture
async def gateway(settings, sim):
    async with house(sim, settings) as built:
        yield built


async def key(gateway, name, *roles, kind=CallerKind.PERSON, **more):
    _, token = await issue(gateway.services.directory, NewKey(name, name, kind, roles or ("engineer",), **more))
    headers = {"Authorization": f"Bearer {token}"}
    await eventually(lambda: _known(gateway, headers))
    return headers


async def _known(gateway, headers):
    return (await gateway.call("GET", "/tools", headers=headers)).status == 200


@pytest.fixture
async def root(gateway):
    return await key(gateway, "root", "admin")


@pytest.fixture
async def ann(gateway, root):
    return await key(gateway, "ann", select=("name=app-*|mail-1",))


def require_nothing_hidden(text, what):
    for name in HIDDEN_NAMES:
        assert not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"{what} tells of {name}: {text[:2000]}"


async def test_lists_hold_what_is_seen_and_all_of_it_can_be_read(gateway, ann):
    listed = await gateway.call("GET", "/vms", headers=ann)
    assert {row["id"] for row in listed.body} == SEEN
    assert listed.headers["X-Total-Count"] == str(len(SEEN))
    for row in listed.body:
        for path in ("", "/status", "/drives", "/nics", "/snapshots", "/diagnosis"):
            assert (await gateway.call("GET", f"/vms/{row['id']}{path}", headers=ann)).status == 200
    for path in ("/networks", "/tenants", "/nodes", "/cluster/status", "/volumes", "/cluster/stats"):
        assert (await gateway.call("GET", path, headers=ann)).body == []
    overview = (await gateway.call("GET", "/overview", headers=ann)).body
    assert (overview["vms"], overview["networks"], overview["nodes"], overview["tenants"]) == (4, 0, 0, 0)
    assert "hidden" not in overview


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["rest", "auto", "legacy"])
async def test_no_read_tells_of_anything_else(gateway, ann, root, mode):
    job = await gateway.call("POST", "/vms/39/poweroff", {}, root)
    assert job.status == 202
    for _ in range(2):  # the second time from what is kept of what others read
        for tool in READING:
            arguments = ARGUMENTS.get(tool.name, READS.get(tool.name, {}))
            await gateway.call("POST", f"/tools/{tool.name}", arguments, root)
            text = await answered(gateway, ann, mode, tool.name, arguments)
            require_nothing_hidden(text, tool.name)
            assert job.body["id"] not in text


async def answered(gateway, headers, mode, name, arguments):
    if mode == "rest":
        return (await gateway.call("POST", f"/tools/{name}", arguments, headers)).text
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(gateway.url + "/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            result = await client.call_tool(name, arguments)
            return result.model_dump_json()


@pytest.mark.parametrize(
    "path", ["/vms/{}", "/vms/{}/status", "/vms/{}/drives", "/vms/{}/nics", "/vms/{}/diagnosis", "/history?vm={}"]
)
async def test_what_is_hidden_is_answered_as_what_is_not_there(gateway, ann, path):
    gateway.sim.reset_counts()
    for hidden, absent in (("39", "999"), ("test-vm", "tezt-vm")):
        refused = [await gateway.call("GET", path.format(ref), headers=ann) for ref in (hidden, absent)]
        texts = [answer.text.replace(ref, "…") for answer, ref in zip(refused, (hidden, absent), strict=True)]
        assert texts[0] == texts[1]
        refused[0].problem(404, "not_found")
        require_nothing_hidden(texts[0], path)


async def test_figures_of_the_whole_site_are_for_who_sees_the_whole_site(gateway, ann, root):
    async def figures(headers):
        async with gateway.http.get(f"{gateway.url}/metrics", headers=headers) as answer:
            return answer.status, await answer.text()

    status, text = await figures(ann)
    assert (status, json.loads(text)["code"]) == (403, "forbidden")
    assert (await figures(root))[0] == 200


async def test_jobs_follow_the_right_on_their_object(gateway, ann, root):
    hidden = (await gateway.call("POST", "/vms/39/poweroff", {}, root)).body["id"]
    shown = (await gateway.call("POST", "/vms/35/poweroff", {}, root)).body["id"]
    assert [job["id"] for job in (await gateway.call("GET", "/jobs", headers=ann)).body] == [shown]
    assert (await gateway.call("GET", f"/jobs/{shown}", headers=ann)).status == 200
    for method, path, body in (
        ("GET", "/jobs/{}", None),
        ("GET", "/jobs/{}?wait=5", None),
        ("GET", "/jobs/{}/events", None),
        ("POST", "/jobs/{}/cancel", None),
        ("POST", "/jobs/{}/input", {"answer": True}),
    ):
        texts = []
        for job_id in (hidden, "0123456789abcdef"):
            answer = await gateway.call(method, path.format(job_id), body, ann)
            answer.problem(404, "job_not_found")
            texts.append(answer.text.replace(job_id, "…"))
        assert texts[0] == texts[1], path
    after = {"after": hidden}
    refused = await gateway.call("POST", "/vms/36/poweroff", after, ann)
    unknown = await gateway.call("POST", "/vms/36/poweroff", {"after": "0123456789abcdef"}, ann)
    assert refused.text.replace(hidden, "…") == unknown.text.replace("0123456789abcdef", "…")


async def test_a_denied_object_stays_hidden_once_it_is_gone_and_nobody_knows_its_tags(settings, sim, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "roles: {part: {allow: [{permissions: read}], deny: [{permissions: all, on: {tag: production}}]}}\n"
    )
    async with house(sim, settings.model_copy(update={"policy_file": policy}), workers=0) as gateway:
        root, carol = await key(gateway, "root", "admin"), await key(gateway, "carol", "part")
        for vm in ("db-1", "mail-1"):
            await gateway.accepted("POST", f"/vms/{vm}/poweroff", {}, root)
        for change in (lambda: None, sim.vm("db-1").delete):
            change()
            gateway.services.views.forget("vms", time.time_ns() // 1000)
            listed = (await gateway.call("GET", "/jobs", headers=carol)).body
            assert [job["target"]["name"] for job in listed] == ["mail-1"]


async def test_while_vergeos_is_away_who_sees_a_part_and_a_probe_hear_of_no_jobs(gateway, ann, root):
    gateway.sim.vm(39).start().ignore_acpi()
    await gateway.accepted("POST", "/vms/39/poweroff", {"wait_timeout": 600}, root)
    await gateway.call("PUT", "/freeze", {"why": "a fire in rack 7"}, root)
    for headers in (root, ann):
        await gateway.call("GET", "/overview", headers=headers)
    gateway.sim.down = True
    await eventually(lambda: gateway.services.watching.blind_since())
    for headers, told_of in ((root, True), (ann, False)):
        words = (await gateway.call("GET", "/jobs", headers=headers)).headers["X-Note"]
        assert words.startswith("site unreachable since ")
        assert ("; 1 " in words) is told_of
        assert (await gateway.call("GET", "/overview", headers=headers)).body["outage"] == words
    for path in ("/health", "/readyz"):
        probed = (await gateway.get(path)).body
        assert (probed["outage"], probed["changes"]) == (words, "frozen")


async def test_a_cursor_of_one_caller_is_nothing_to_another_and_names_no_hidden_job(gateway, ann, root):
    eve = await key(gateway, "eve", select=("name=app-*|mail-1",))
    hidden = (await gateway.call("POST", "/vms/39/poweroff", {}, root)).body["id"]
    made = [(await gateway.call("POST", f"/vms/{vm}/poweroff", {}, root)).body["id"] for vm in (35, 36, 38)]

    async def page(headers, **more):
        return await gateway.call("POST", "/tools/list_jobs", {"limit": 1, **more}, headers)

    first = (await page(ann)).body["result"]
    cursor = first["next"]
    assert not [job for job in (hidden, *made) if job in cursor]
    following = (await page(ann, cursor=cursor)).body["result"]
    assert [row["id"] for row in (*first["items"], *following["items"])] == made[:0:-1]
    (await page(root, cursor=cursor)).problem(400, "invalid_argument")
    refused = [await page(eve, cursor=given) for given in (cursor, hidden, made[0], "0123456789abcdef")]
    assert len({answer.text for answer in refused}) == 1, "what is hidden is no other than what is not there"
    refused[0].problem(400, "invalid_argument")


async def test_changes_are_refused_where_the_rule_ends(gateway, root, settings):
    bob = await key(gateway, "bob", "operator", select=("name=app-1",))
    assert (await gateway.call("POST", "/vms/app-1/poweroff", {}, bob)).status == 202
    (await gateway.call("POST", "/vms/cache-100/poweroff", {}, bob)).problem(404, "not_found")
    gateway.sim.reset_counts()
    for method, path in (("POST", "/vms/app-1/forceoff"), ("PATCH", "/vms/35"), ("DELETE", "/snapshots/1")):
        (await gateway.call(method, path, {}, bob)).problem(403, "forbidden")
    assert not gateway.sim.requests, "what no rule permits asks VergeOS nothing"


async def test_what_may_be_seen_may_not_therefore_be_changed(settings, sim, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "roles:\n  part:\n    allow:\n      - {permissions: read}\n"
        "      - {permissions: operate, on: {name: app-*}}\n    deny:\n      - {permissions: all, on: {name: app-2}}\n"
    )
    async with house(sim, settings.model_copy(update={"policy_file": policy})) as gateway:
        carol = await key(gateway, "carol", "part")
        assert (await gateway.call("POST", "/vms/app-1/poweroff", {}, carol)).status == 202
        refused = (await gateway.call("POST", "/vms/cache-100/poweroff", {}, carol)).problem(403, "forbidden")
        assert "no rule gives carol 'operate' here" in refused["detail"]
        (await gateway.call("POST", "/vms/app-2/poweroff", {}, carol)).problem(404, "not_found")
        assert (await gateway.call("GET", "/networks/External", headers=carol)).status == 200


async def test_a_withdrawn_right_stops_a_queued_job(redis_url, sim):
    async with house(sim, engine_settings(sim, redis_url), workers=0) as gateway:
        ann = await key(gateway, "ann")
        job = (await gateway.call("POST", "/vms/app-1/poweron", {}, ann)).body["id"]
        root = await key(gateway, "root", "admin")
        await gateway.services.directory.keys.revoke("ann")
        await gateway.start_worker()

        async def ended():
            found = (await gateway.call("GET", f"/jobs/{job}", headers=root)).body
            return found if found["state"] == "failed" else None

        found = await eventually(ended)
        assert found["problem"]["code"] == "forbidden"
        assert not gateway.sim.vm("app-1").running


@pytest.mark.parametrize(
    ("selector", "path", "names"),
    [
        ("node=node1", "/nodes", {"node1"}),
        ("kind=network,network=Ext*", "/networks", {"External"}),
        ("tenant=globex", "/tenants", {"globex"}),
        ("cluster=edge", "/cluster/status", {"edge"}),
        ("tag=*", "/vms", None),
        ("network=Internal", "/vms", None),
        ("site=*", "/vms", None),
    ],
)
async def test_every_field_selects(gateway, root, selector, path, names):
    caller = await key(gateway, "sel", "viewer", select=(selector,))
    everything = (await gateway.call("GET", path, headers=root)).body
    seen = (await gateway.call("GET", path, headers=caller)).body
    assert len(seen) > 0
    if names is None:
        assert len(seen) <= len(everything)
    else:
        assert {row["name"] for row in seen} == names


async def test_completions_and_resources_hold_no_more(gateway, ann, root):
    async with httpx2.AsyncClient(headers=ann) as http:
        transport = streamable_http_client(gateway.url + "/mcp", http_client=http)
        async with Client(transport) as client:
            read = await client.read_resource("vergeos://vms/list")
            require_nothing_hidden(read.model_dump_json(), "the resource")
            assert {row["id"] for row in json.loads(read.contents[0].text)["items"]} == SEEN
            with pytest.raises(Exception, match="not found"):
                await client.read_resource("vergeos://vms/39")
