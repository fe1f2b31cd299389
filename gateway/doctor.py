"""What stands in the way: one look at Redis, VergeOS, the credentials and the workers, in words."""

import asyncio

from gateway.core.errors import GatewayError, StoreError, UpstreamError
from gateway.core.overview import hidden_part
from gateway.services import Services
from gateway.store.backend import Backend
from gateway.views.cluster import COUNTS, NODES
from gateway.views.tenants import TENANTS


async def examine(services: Services, backend: Backend, *, try_credentials: bool) -> str:
    """Return a report, a line a finding; `try_credentials` lets refused ones be tried once more."""
    lines = [f"site        {services.settings.site}", await _redis(services, backend)]
    if try_credentials:
        await services.vergeos.clear_latch()
    lines.append(await _vergeos(services))
    lines.append(await _jobs(services))
    return "\n".join(lines)


async def _redis(services: Services, backend: Backend) -> str:
    try:
        await services.jobs.now()
    except GatewayError as exc:
        return f"redis       FAILS: {exc.detail} ({backend.words})"
    return f"redis       ok, {backend.words}{'' if backend.durable else ': jobs end with this process'}"


async def _vergeos(services: Services) -> str:
    try:
        version = await services.vergeos.version()
        identity = await services.vergeos.identity()
        await services.site.require()
    except StoreError:
        return "vergeos     not asked further: Redis does not answer"
    except UpstreamError as exc:
        return f"vergeos     FAILS: {exc.code}: {exc.detail}\n            {exc.next_step}"
    return f"vergeos     ok, {identity.name or 'unnamed'}, version {version}{await _sight(services)}"


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
        jobs, workers = await services.jobs.open(), await services.watching.workers()
    except GatewayError:
        return "jobs        unknown: Redis does not answer"
    none = "" if workers else "; NO WORKER RUNS: start one with `vergeos-gateway worker`"
    return f"jobs        {len(jobs)} open, {workers} workers{none}"
