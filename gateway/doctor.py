"""What stands in the way: one look at Redis, VergeOS, the credentials and the workers, in words."""

import asyncio

from gateway.core.errors import GatewayError, StoreError, UpstreamError
from gateway.core.overview import hidden_part
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.backend import Backend
from gateway.store.sizes import server, sizes
from gateway.views.cluster import COUNTS, NODES
from gateway.views.tenants import TENANTS

MINUTE = 60.0
TOP_CALLERS = 5


async def examine(services: Services, backend: Backend, *, try_credentials: bool) -> str:
    """Return a report, a line a finding; `try_credentials` lets refused ones be tried once more."""
    lines = [f"site        {services.settings.site}", await _redis(services, backend)]
    if try_credentials:
        await services.vergeos.clear_latch()
    lines.append(await _vergeos(services))
    lines.append(await _budget(services))
    lines.append(await _jobs(services))
    lines.append(await _changes(services))
    lines += [f"settings    CHECK: {words}" for words in misfits(services.settings)]
    return "\n".join(lines)


async def _redis(services: Services, backend: Backend) -> str:
    try:
        await services.jobs.now()
    except GatewayError as exc:
        return f"redis       FAILS: {exc.detail} ({backend.words})"
    told = await server(services.jobs.redis)
    used = "" if told.used_mb is None else f", {told.used_mb:.0f} MB{f' of {told.most_mb:.0f}' if told.most_mb else ''}"
    lines = [f"redis       ok, {backend.words}{used}{'' if backend.durable else ': jobs end with this process'}"]
    return "\n            RISK: ".join([*lines, *(told.risks() if backend.durable else ())])


async def _vergeos(services: Services) -> str:
    try:
        version = await services.vergeos.version()
        identity = await services.vergeos.identity()
        await services.site.require()
    except StoreError:
        return "vergeos     not asked further: Redis does not answer"
    except UpstreamError as exc:
        return f"vergeos     FAILS: {exc.code}: {exc.detail}\n            {exc.next_step}"
    trust = _trust(services.settings)
    return f"vergeos     ok, {identity.name or 'unnamed'}, version {version}, {trust}{await _sight(services)}"


def _trust(settings: Settings) -> str:
    if not settings.base_url.startswith("https://"):
        return "plain HTTP"
    return "certificate verified" if settings.vergeos_verify_ssl else "certificate NOT verified (VERGEOS_VERIFY_SSL)"


async def _budget(services: Services) -> str:
    """Tell what is left of each limit, and who spent the hour."""
    governor = services.vergeos.governor
    await governor.settle()
    room, hour = governor.headroom(), governor.hour
    words = {"hour": "this hour", "second": "this second", "concurrent": "at once"}
    left = [f"{left} of {limit} {words[name]}" for name, (limit, left) in room.items() if limit]
    spent = [f"{kind.value} {count}" for kind, count in hour.by_kind.items()]
    callers = [f"{name} {count}" for name, count in hour.top_callers(TOP_CALLERS).items()]
    lines = [f"budget      requests left: {', '.join(left) or 'no limit is set'}"]
    lines += [f"spent this hour by {', '.join(spent)}"] if spent else []
    lines += [f"most by {', '.join(callers)}"] if callers else []
    if governor.health.open_since is not None:
        lines.append(f"NOBODY ASKS VergeOS now: it failed {governor.health.failures} times, {governor.health.why}")
    return "\n            ".join(lines)


async def _changes(services: Services) -> str:
    """Tell whether changes are accepted, and with whose VergeOS key they are made."""
    try:
        freeze = await services.freezing.present()
    except StoreError:
        return "changes     unknown: Redis does not answer"
    if freeze is not None:
        return f"changes     FROZEN: {freeze.told()}"
    keys = {"service": "the gateway's VergeOS key", "caller": "each caller's own VergeOS key"}
    return f"changes     accepted, made with {keys[services.settings.write_as]}"


async def _sight(services: Services) -> str:
    """Tell where the gateway's key sees less than the platform counts: the lists are then shorter, without an error."""
    views = services.views
    try:
        vms, nodes, tenants, counts = await asyncio.gather(
            views.vms(), views.rows(NODES), views.rows(TENANTS), views.rows(COUNTS)
        )
    except UpstreamError as exc:
        return f"\n            what the key sees could not be told: {exc.code}"
    hidden = hidden_part(counts.rows, vms=len(vms.rows), nodes=len(nodes.rows), tenants=len(tenants.rows))
    return "" if hidden is None else f"\n            {hidden}"


async def _jobs(services: Services) -> str:
    try:
        kept, workers = await sizes(services.jobs.redis, services.keys), await services.watching.workers()
        ready, lag = await services.jobs.due(await services.jobs.now())
        outage = await services.outage()
    except GatewayError:
        return "jobs        unknown: Redis does not answer"
    none = "" if workers else "; NO WORKER RUNS: start one with `vergeos-gateway worker`"
    leader = f"watched by {kept.leader}" if kept.leader else "watched by nobody"
    return "\n            ".join(
        (
            f"jobs        {kept.open} open, {kept.unbegun} of them not begun, {workers} workers{none}",
            f"queue: {ready} steps due, the oldest for {lag:.1f} s; {leader}",
            f"kept: {kept.records} job records, {kept.events} events in the stream, {kept.views} views",
            *(() if outage is None else (outage,)),
        )
    )


def misfits(settings: Settings) -> list[str]:
    """Return which settings do not fit together, a sentence each."""
    times = settings.engine
    signs = {
        "ENGINE_SPEED is for tests: every time of the job engine is divided by it": settings.engine_speed != 1.0,
        "ENGINE__SETTLE must be longer than ENGINE__REQUEST, or an act may be sent twice": times.settle
        <= times.request,
        "ENGINE__LEADER is shorter than the watcher's round: workers take the lead from each other": (
            times.leader <= times.watch_fast / 2
        ),
        "ENGINE__FALLBACK is shorter than ENGINE__LEASE: waiting jobs are looked at too often": (
            times.fallback < times.lease
        ),
        "ENGINE__GAP_ASKS_AFTER is below twice ENGINE__FALLBACK: jobs ask after no gap at all": (
            times.gap_asks_after < 2 * times.fallback
        ),
        "ENGINE__BEGIN_WITHIN is below a minute: jobs expire while a worker restarts": times.begin_within < MINUTE,
        "MCP_WAIT_SECONDS above 50 leaves proxies that cut after 60 s no room": settings.mcp_wait_seconds > 50,
        "VERGEOS_TIMEOUT is below ENGINE__REQUEST: reads give up before jobs do": settings.vergeos_timeout
        < times.request,
        "JOBS_OPEN_PER_CALLER=0: one caller may fill the queue": settings.jobs_open_per_caller == 0,
    }
    return [words for words, shows in signs.items() if shows]
