"""A gateway whose callers come with one policy after the other: all that each is told, held against what he may."""

import itertools
import re
import time

from gateway.core.access import CallerKind
from gateway.core.tool import Effect
from gateway.rights.issuing import issue, revoke
from gateway.store.api_keys import NewKey
from gateway.tools import CATALOG
from gateway.views.facts import LISTS
from gateway.views.tags import VM_TAGS
from gateway.views.vm_parts import VM_NETWORKS
from tests.rights.oracle import Oracle, policy_text, select_texts, shuffle, site_of
from tests.transports.mcp_fixtures import HEADERS, asked, begin

LISTED = {"vm": "/vms", "network": "/networks", "tenant": "/tenants", "node": "/nodes", "cluster": "/cluster/status"}
ONE = {"vm": "/vms/{}", "network": "/networks/{}", "tenant": "/tenants/{}", "node": "/nodes/{}/stats"}
PARTS = {
    "vm": ("", "/status", "/drives", "/nics", "/snapshots", "/diagnosis"),
    "tenant": ("", "/diagnosis"),
    "network": ("",),
    "node": ("",),
}
AT_ONCE = 4  # objects of a kind whose parts are read, of those that are seen
SWITCHED = {"vm": (30, 31, 34, 35), "network": (4, 5), "tenant": (1, 2)}
"""What there is a job on."""
ARGUMENTS = {"find": {"name": "z"}, "get_logs": {"limit": 200}, "list_vms": {"limit": 100}}
WHOLE = [
    tool.name
    for tool in CATALOG
    if tool.effect is Effect.READ
    and tool.permission == "read"
    and (tool.name in ARGUMENTS or not tool.input_schema.get("required", ()))
]
COMPLETED = {"vms": "", "nodes": "nod", "tenants": "ten", "jobs": ""}
NO_JOB = "0123456789abcdef"


class Judge:
    """One gateway with a job on some objects; `said` is all that the caller of now was told, by what he asked."""

    def __init__(self, gateway, policy_file):
        self.gateway, self.policy_file, self.mcp = gateway, policy_file, f"{gateway.url}/mcp"
        self.jobs, self.headers, self.said = {}, {}, {}
        self.numbers = itertools.count()

    @classmethod
    async def of(cls, gateway, policy_file):
        """Return the judge of a gateway, once the jobs are made."""
        judge = cls(gateway, policy_file)
        await judge.enter("root", CallerKind.PERSON, "root", ("admin",))
        for kind, keys in SWITCHED.items():
            for key in keys:
                made = await gateway.accepted("POST", f"/{kind}s/{key}/poweroff", {}, judge.headers)
                judge.jobs[made["id"]] = (kind, key)
        return judge

    async def enter(self, name, kind, owner, roles, select=()):
        """Let somebody in, by a key of his."""
        directory = self.gateway.services.directory
        _, token = await issue(directory, NewKey(name, owner, kind, tuple(roles), select))
        await directory.refresh(0)
        self.headers, self.said = {"Authorization": f"Bearer {token}"}, {}

    async def check(self, story):
        """Let the caller of a story in and hold all that he is told against what he may."""
        services, who, name = self.gateway.services, story["who"], f"caller{next(self.numbers)}"
        shuffle(self.gateway.sim, story["shuffled"])
        for view in (*LISTS.values(), VM_TAGS, VM_NETWORKS):
            services.views.forget(view.name, time.time_ns() // 1000)
        self.policy_file.write_text(policy_text(story))
        services.directory.reload()
        await self.enter(name, CallerKind(who.kind), "owner", who.roles, select_texts(who))
        try:
            await self.judge(Oracle(story), site_of(self.gateway.sim))
        finally:
            await revoke(services.directory, name)

    async def judge(self, oracle, site):
        reads = oracle.holds("read")
        seen = {thing.ref for thing in site.things if reads and oracle.may("read", thing.facts)}
        if reads:
            await self.lists(seen)
            await self.joins(seen)
            await self.completes()
        else:
            for path in (*LISTED.values(), "/overview", "/jobs", "/find?name=z", "/vms/34", "/history?vm=34"):
                (await self.get(path)).problem(403, "forbidden")
        self.require_nothing_hidden(site, seen)
        await self.refuses(site, seen, 404 if reads else 403)
        await self.changes(site, oracle)
        offered = {tool["name"] for tool in (await self.get("/tools")).body["tools"]}
        assert offered == {tool.name for tool in CATALOG if oracle.holds(tool.permission)}

    # what he asks

    async def get(self, path, **query):
        return await self.call("GET", path, **query)

    async def call(self, method, path, body=None, **query):
        """Return an answer, and remember it."""
        answered = await self.gateway.call(method, path, body, self.headers, **query)
        assert answered.status < 500, answered.text
        self.said[f"{method} {path} {body} {query}"] = f"{dict(answered.headers)} {answered.text}"
        return answered

    async def over_mcp(self, method, params, session):
        message, headers = asked(method, params), HEADERS | self.headers | session
        async with self.gateway.http.post(self.mcp, json=message, headers=headers) as reply:
            self.said[f"{method} {params}"] = await reply.text()
            return (await reply.json())["result"]

    # what must hold

    async def lists(self, seen):
        """What is listed is all that is seen, and each of it is read, by id and by name."""
        for kind, path in LISTED.items():
            rows = (await self.get(path, **({} if kind in ("node", "cluster") else {"limit": 100}))).body
            assert {(kind, row["id"]) for row in rows} == {ref for ref in seen if ref[0] == kind}, path
            for number, row in enumerate(rows if kind in ONE else ()):
                for ref in (row["id"], row["name"]):
                    for part in PARTS[kind] if number < AT_ONCE else ("",):
                        answered = await self.get(ONE[kind].format(ref) + part)
                        assert answered.status == 200, (kind, ref, part, answered.text)
                if kind == "vm" and number < AT_ONCE:
                    assert (await self.get("/history", vm=row["name"])).status == 200

    async def joins(self, seen):
        """What is told of many objects at once counts those that are seen, and so it is with jobs."""
        for name in WHOLE:
            assert (await self.call("POST", f"/tools/{name}", ARGUMENTS.get(name, {}))).status == 200
        overview, jobs = (await self.get("/overview")).body, (await self.get("/jobs", limit=100)).body
        for kind in ("vm", "network", "tenant", "node"):
            assert overview[f"{kind}s"] == len([ref for ref in seen if ref[0] == kind]), kind
        assert {job["id"] for job in jobs} == {job for job, ref in self.jobs.items() if ref in seen}
        assert (overview["jobs_open"], overview.get("hidden")) == (len(jobs), None)
        for job in jobs:
            assert (await self.get(f"/jobs/{job['id']}", details="true")).status == 200

    async def completes(self):
        self.gateway.http.headers.update(HEADERS | self.headers)
        session = await begin(self.gateway.http, self)
        for kind, typed in COMPLETED.items():
            template = {"type": "ref/resource", "uri": f"vergeos://{kind}/{{id}}"}
            about = {"ref": template, "argument": {"name": "id", "value": typed}}
            await self.over_mcp("completion/complete", about, session)
        for resource in (await self.over_mcp("resources/list", {}, session))["resources"]:
            await self.over_mcp("resources/read", {"uri": resource["uri"]}, session)

    def require_nothing_hidden(self, site, seen, asked_for=""):
        hidden = {thing.name for thing in site.things if thing.ref not in seen} - {asked_for}
        hidden |= {job for job, ref in self.jobs.items() if ref not in seen} - {asked_for}
        said = self.said.items()
        found = [f"{what} tells of {word}: {text}" for what, text in said for word in hidden if word in text]
        assert not found, "\n".join(found)
        self.said.clear()

    async def refuses(self, site, seen, status):
        """What is not seen is refused as what is not there, and names nobody else in it."""
        for thing in site.things:
            if thing.kind in ONE and thing.ref not in seen:
                for ref, other in ((thing.key, 999), (thing.name, "zz-99")):
                    await self.same(ONE[thing.kind], ref, other, status, site, seen)
        for job, ref in self.jobs.items():
            if ref not in seen:
                for path in ("/jobs/{}", "/jobs/{}/events"):
                    await self.same(path, job, NO_JOB, status, site, seen)

    async def same(self, path, hidden, absent, status, site, seen):
        told = []
        for ref in (hidden, absent):
            answered = await self.get(path.format(ref))
            assert answered.status == status, answered.text
            self.require_nothing_hidden(site, seen, asked_for=str(ref))
            without = re.sub(rf"\b{re.escape(str(ref))}\b", "…", answered.text)
            told.append(re.sub('; the nearest[^"]*|"nearest".*', "", without))  # who is alike depends on the name
        assert told[0] == told[1], (path, hidden, told)

    async def changes(self, site, oracle):
        """A change is refused, has no object, or is planned, as the rules say of its object."""
        for thing in (thing for thing in site.things if thing.key in SWITCHED.get(thing.kind, ())):
            answered = await self.call("POST", f"/{thing.kind}s/{thing.key}/poweroff", {"dry_run": True})
            assert answered.status == _verdict(oracle, thing), (thing, answered.text)


def _verdict(oracle, thing):
    needed = {"vm": "operate", "network": "change", "tenant": "admin"}[thing.kind]
    if not oracle.holds(needed):
        return 403
    if not (oracle.holds("read") and oracle.may("read", thing.facts)):
        return 404
    return 200 if oracle.may(needed, thing.facts) else 403
