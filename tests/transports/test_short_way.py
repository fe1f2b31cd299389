"""Reads that are asked again with the same bytes: as on the long way, whatever happened meanwhile."""

import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from gateway.app import DOOR, create_app
from gateway.core.access import CallerKind
from gateway.rights.directory import FRESH_SECONDS, Directory
from gateway.rights.issuing import issue
from gateway.services import open_services
from gateway.store.api_keys import NewKey
from gateway.store.backend import open_backend
from gateway.transports.short_way import LONGEST_BYTES, ShortWay

CHANGING = {"Date", "Age", "X-As-Of", "X-Source"}
WANDERING = 250


class Doors:
    """One gateway with two doors: each request is answered at both, and must be answered alike.

    `went` are the paths that took the long way at the door that has a short one. What is known of keys and policy
    is as old as `clock` says.
    """

    def __init__(self, services):
        self.now = 0.0
        self.services = replace(
            services,
            directory=Directory(services.directory.keys, services.settings.policy_file, clock=lambda: self.now),
        )
        self.went = []
        self.short = None
        self.urls = []
        self.http = None

    def later(self):
        """Let what is known of keys and policy be too old from now on."""
        self.now += 2 * FRESH_SECONDS

    async def open(self, stack):
        for shortened in (True, False):
            app = create_app(self.services)
            runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            if shortened:
                self.short = self._shorten(app, runner.server)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        self.http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))

    def _shorten(self, app, server):
        long_way = server.request_handler

        async def noted(request):
            self.went.append(request.raw_path)
            return await long_way(request)

        short = ShortWay(app[DOOR], noted)
        server.request_handler = short.serve
        return short

    async def key(self, name, **more):
        """Make a key; return the header that shows it."""
        wanted = NewKey(name, name, more.pop("kind", CallerKind.PERSON), more.pop("roles", ("viewer",)), **more)
        _, token = await issue(self.services.directory, wanted)
        self.later()
        return {"Authorization": f"Bearer {token}"}

    async def ask(self, path, headers=(), method="GET"):
        """Return status, headers and body of the answer, the same at both doors."""
        one, other = [await self._asked(url, path, dict(headers), method) for url in self.urls]
        assert one[0] == other[0], (path, one, other)
        assert one[1].keys() == other[1].keys()
        assert [one[1][name] for name in one[1].keys() - CHANGING] == [
            other[1][name] for name in one[1].keys() - CHANGING
        ]
        assert one[2] == other[2]
        return one

    async def _asked(self, url, path, headers, method):
        async with self.http.request(method, url + path, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async def shortly(self, path, headers=()):
        """Ask twice; the second answer must come by the short way. Return it."""
        await self.ask(path, headers)
        before = len(self.went)
        answer = await self.ask(path, headers)
        assert len(self.went) == before, "took the long way"
        return answer


@asynccontextmanager
async def doors_on(settings):
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(settings))
        doors = Doors(await stack.enter_async_context(open_services(settings, backend)))
        await doors.open(stack)
        yield doors


@pytest.fixture
async def doors(settings):
    async with doors_on(settings) as opened:
        yield opened


def names(body):
    return [part.partition(b'"')[0].decode() for part in body.split(b'"name":"')[1:]]


async def test_what_was_asked_before_is_answered_by_the_short_way_with_the_same_bytes(doors):
    ann = await doors.key("ann")
    for path in ("/vms", "/vms?limit=2", "/vms/34", "/vms/web-1", "/networks", "/nodes?limit=1"):
        status, headers, _ = await doors.shortly(path, ann)
        assert status == 200
        assert (await doors.shortly(path, {**ann, "If-None-Match": headers["ETag"]}))[0] == 304
        assert (await doors.shortly(path, {**ann, "If-None-Match": '"other"'}))[0] == 200


async def test_a_key_that_is_taken_back_is_refused_at_the_next_look(doors):
    ann = await doors.key("ann")
    await doors.shortly("/vms", ann)
    await doors.services.directory.keys.revoke("ann")  # as another process does
    doors.later()
    assert (await doors.ask("/vms", ann))[0] == 401
    assert (await doors.ask("/vms", ann))[0] == 401


async def test_whoever_is_blocked_is_refused_and_let_in_again(doors):
    ann = await doors.key("ann")
    await doors.shortly("/vms", ann)
    await doors.services.directory.keys.block("ann")
    doors.later()
    assert (await doors.ask("/vms", ann))[0] == 401
    await doors.services.directory.keys.unblock("ann")
    doors.later()
    assert (await doors.shortly("/vms", ann))[0] == 200


async def test_a_key_ends_with_its_time_before_anybody_looks_again(doors):
    ann = await doors.key("ann", lasts_seconds=3_000)
    await doors.shortly("/vms", ann)
    directory = doors.services.directory
    directory._known = replace(directory._known, now=directory._known.now + 3_600)
    assert (await doors.ask("/vms", ann))[0] == 401


async def test_a_key_holds_from_its_own_addresses_alone(settings):
    async with doors_on(settings.model_copy(update={"trusted_proxies": ("127.0.0.0/8",)})) as doors:
        ann = await doors.key("ann", cidrs=("192.0.2.0/24",))
        near = {**ann, "X-Forwarded-For": "192.0.2.9"}
        await doors.shortly("/vms", near)
        assert (await doors.ask("/vms", {**ann, "X-Forwarded-For": "198.51.100.1"}))[0] == 401
        assert (await doors.ask("/vms", ann))[0] == 401
        assert (await doors.shortly("/vms", near))[0] == 200


async def test_a_policy_that_is_read_again_holds_for_what_was_asked_before(settings, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("roles: {looker: {allow: [{permissions: read, on: {name: app-*}}]}}\n")
    async with doors_on(settings.model_copy(update={"policy_file": policy})) as doors:
        ann = await doors.key("ann", roles=("looker",))
        for path in ("/vms", "/vms?limit=100"):
            assert set(names((await doors.shortly(path, ann))[2])) == {"app-1", "app-2", "app-100"}
        policy.write_text("roles: {looker: {allow: [{permissions: read, on: {name: mail-1}}]}}\n")
        doors.later()
        for path in ("/vms", "/vms?limit=100"):  # of the second nothing was found out anew
            assert names((await doors.ask(path, ann))[2]) == ["mail-1"]
            assert names((await doors.shortly(path, ann))[2]) == ["mail-1"]


async def test_each_caller_reads_what_he_may_see(doors):
    seen = {name: await doors.key(name, select=(f"name={name}*",)) for name in ("app", "mail", "web")}
    for _ in range(3):
        for name, who in seen.items():
            assert all(one.startswith(name) for one in names((await doors.ask("/vms", who))[2]))
            assert (await doors.ask("/vms/mail-1", who))[0] == (200 if name == "mail" else 404)


async def test_what_a_job_changed_is_read_at_once(doors):
    ann, on, off = await doors.key("ann"), b'"name":"web-1","running":true', b'"name":"web-1","running":false'
    assert on in (await doors.shortly("/vms", ann))[2]
    await doors.services.views.patch_power(34, running=False, status="stopped")
    assert off in (await doors.ask("/vms", ann))[2]
    assert off in (await doors.shortly("/vms", ann))[2]


async def test_calls_are_counted_against_the_caller_s_minute(settings):
    async with doors_on(settings.model_copy(update={"calls_per_minute": 40})) as doors:
        ann = await doors.key("ann")
        statuses = [(await doors._asked(doors.urls[0], "/vms", ann, "GET"))[0] for _ in range(45)]
        assert statuses == [200] * 40 + [429] * 5
        assert len(doors.went) > 5


async def test_every_answer_is_counted_however_it_was_found(doors):
    ann = await doors.key("ann")
    for _ in range(5):
        await doors.ask("/vms", ann)
    assert doors.went == ["/vms"]
    counted, prefix = doors.services.metrics.registry.get_sample_value, "vergeos_gateway_"
    asked = {"tool": "list_vms", "face": "rest"}
    assert counted(f"{prefix}calls_total", {**asked, "outcome": "ok"}) == 10
    assert counted(f"{prefix}call_duration_seconds_count", asked) == 10
    assert counted(f"{prefix}caller_calls_total", {"caller": "ann", "kind": "person"}) == 10
    assert counted(f"{prefix}authentications_total", {"outcome": "ok"}) == 10
    ages = [counted(f"{prefix}answer_age_seconds_count", {"source": source}) for source in ("live", "cache")]
    assert sum(filter(None, ages)) == 10


async def test_a_page_of_another_site_and_another_host_are_refused_however_often(doors):
    await doors.shortly("/vms")
    for headers, status in (({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)):
        for _ in range(2):
            assert (await doors.ask("/vms", headers))[0] == status


async def test_head_and_odd_requests_are_answered_after_plain_ones(doors):
    status, headers, body = await doors.shortly("/vms")
    head = await doors.ask("/vms", method="HEAD")
    assert (head[0], head[2], head[1]["ETag"]) == (status, b"", headers["ETag"])
    closed = await doors.ask("/vms", {"Connection": "close"})
    assert (closed[2], closed[1]["Connection"], closed[1]["Server"]) == (body, "close", "vergeos-gateway")
    assert (await doors.ask("/vms", {"Cache-Control": "max-age=0"}))[0] == 200
    assert (await doors.ask("/vms?limit=none"))[0] == 400
    assert (await doors.ask("/vms?max_age=0"))[0] == 200
    known = len(doors.short._known)
    assert (await doors.ask("/vms", {"Expect": "100-continue"}))[0] == 200
    assert len(doors.short._known) == known


async def test_an_age_that_is_asked_for_is_kept(doors, sim):
    await doors.shortly("/vms")
    sim.reset_counts()
    for _ in range(3):
        await doors.ask("/vms", {"Cache-Control": "no-cache"})
    assert sim.requests.total() == 6


async def test_what_is_remembered_of_requests_has_bounds(doors, monkeypatch):
    await doors.ask("/vms", {"X-Long": "x" * LONGEST_BYTES})
    assert not doors.short._known
    monkeypatch.setattr("gateway.transports.short_way.REQUESTS_KNOWN", 10)
    for number in range(25):
        await doors.ask("/vms", {"X-Number": str(number)})
        assert len(doors.short._known) <= 10


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_both_ways_answer_alike(settings, seed, tmp_path):
    chance, policy = random.Random(seed), tmp_path / "policy.yaml"
    policy.write_text("people: {ann: {roles: [viewer]}}\n")
    async with doors_on(settings.model_copy(update={"policy_file": policy})) as doors:
        keys = [
            await doors.key(f"k{n}", select=("name=*", "name=app-*", "name=web-*|mail-*")[n % 3 :][:1])
            for n in range(6)
        ]
        paths, tags = ["/vms", "/vms?limit=3", "/vms/34", "/vms/app-1", "/networks", "/jobs", "/tools"], [None]
        statuses = set()
        for _ in range(WANDERING):
            await happening(doors, chance, policy)
            headers, tag = dict(chance.choice(keys)), chance.choice(tags[-4:])
            headers |= {} if tag is None else {"If-None-Match": tag}
            status, told, _ = await doors.ask(chance.choice(paths), headers)
            statuses.add(status)
            tags.append(told.get("ETag"))
        assert statuses >= {200, 304, 401}
        assert len(doors.went) < WANDERING


async def happening(doors, chance, policy):
    """Let something happen now and then: keys and persons go and come, the policy changes, a VM stops and starts."""
    directory, one = doors.services.directory, f"k{chance.randrange(6)}"
    what = chance.randrange(40)
    if what == 0:
        await directory.keys.block(one)
    elif what in (1, 2):
        await directory.keys.unblock(one)
    elif what == 3:
        policy.write_text(f"people: {{ann: {{roles: [viewer]}}}}\n# {time.monotonic_ns()}\n")
    elif what in (4, 5):
        running = chance.random() < 0.5
        await doors.services.views.patch_power(34, running=running, status="running" if running else "stopped")
    if what < 12:
        doors.later()
