"""A job's events as they happen (server-sent events), and the answer to its question."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import hdrs, web

from gateway import calls
from gateway.core.access import Permission
from gateway.core.errors import GatewayError, InvalidArgument
from gateway.core.events import JobEvent
from gateway.services import Services
from gateway.transports.arguments import json_object
from gateway.transports.context import CATALOG, SERVICES, caller_of
from gateway.transports.rest_call import call_of

PING_SECONDS = 15.0  # proxies cut what is silent for a minute or so
PING = b": ping\n\n"
RETRY = b"retry: 1000\n\n"  # milliseconds until a browser comes back after a cut
WRITE_SECONDS = 30.0  # a client that takes nothing for so long is cut off
TOO_SLOW = b'event: dropped\ndata: {"reason":"too slow: come back with the id of your last event"}\n\n'
DIGITS = 12

STREAM_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back
}


def job_path(job_id: str) -> str:
    """Return the path of a job."""
    return f"/jobs/{job_id}"


def mount(app: web.Application, *, ping_seconds: float = PING_SECONDS) -> None:
    """Add the event stream of a job and the answer to its question; a stream pings after so much silence."""
    path = job_path("{job_id}")
    app.router.add_get(f"{path}/events", partial(follow_job, ping_seconds=ping_seconds), allow_head=False)
    app.router.add_post(f"{path}/input", answer_job)


async def follow_job(request: web.Request, *, ping_seconds: float) -> web.StreamResponse:
    """Stream the events after `Last-Event-ID` up to the job's last; 204, which ends a browser's tries, past that.

    Raises `TooManyWaits`, `UnknownJob`, `InvalidArgument`, `StoreError`.
    """
    services = request.app[SERVICES]
    caller = caller_of(request)
    caller.require(Permission.READ, "following a job")
    after = _last_event_id(request)
    job = await services.job_for(caller, request.match_info["job_id"])
    if job.state.final and after >= job.seq:
        return web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
    async with services.limits.waiting(caller), services.feed.follow(job.id, after) as events:
        stream = web.StreamResponse(headers=STREAM_HEADERS)
        await stream.prepare(request)
        try:
            await _send(stream, RETRY)
            await _relay(events, stream, services, ping_seconds)
            if events.too_slow:
                await _send(stream, TOO_SLOW)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except (GatewayError, ConnectionError):
            pass  # the stream ends; whoever still wants it comes back
    return stream


async def answer_job(request: web.Request) -> web.Response:
    """Answer a job's question with `{"answer": true}` or `false`; answers the job.

    Raises as `calls.answer_question`.
    """
    body = await json_object(request)
    yes = body.get("answer")
    if len(body) != 1 or not isinstance(yes, bool):
        raise InvalidArgument("answer: must be true or false, and alone", next_step='Send {"answer": true} or false.')
    services, caller = request.app[SERVICES], caller_of(request)
    job = await services.job_for(caller, request.match_info["job_id"])
    view = await calls.answer_question(call_of(request), request.app[CATALOG][job.tool], job.id, yes=yes)
    body_json = view.model_dump_json(exclude_none=True).encode()
    return web.Response(body=body_json, headers={hdrs.CACHE_CONTROL: "no-store"}, content_type="application/json")


def _last_event_id(request: web.Request) -> int:
    """Return the `seq` of the last event that the client has, 0 for none; raise `InvalidArgument`."""
    text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS):
        raise InvalidArgument("Last-Event-ID: must be the id of an event of this job")
    return int(text)


async def _relay(
    events: AsyncIterator[JobEvent], stream: web.StreamResponse, services: Services, ping_seconds: float
) -> None:
    """Write events until the job's last one, until there are no more, or until the process stops."""
    closing = asyncio.ensure_future(services.closing.wait())
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while not closing.done():
            await asyncio.wait({coming, closing}, timeout=ping_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                await _send(stream, PING)
            elif (event := coming.result()) is None:
                return
            else:
                await _write(event, stream, services)
                coming = asyncio.ensure_future(anext(events, None))
    finally:
        for task in (coming, closing):
            task.cancel()
        await asyncio.gather(coming, closing, return_exceptions=True)


async def _write(event: JobEvent, stream: web.StreamResponse, services: Services) -> None:
    if event.state.final:
        # whoever hears of the end may read what it changed at once: this process must know it by then
        await services.show(await services.jobs.get(event.job_id))
    text = event.model_dump_json(exclude_none=True)
    await _send(stream, f"id: {event.seq}\nevent: {event.state}\ndata: {text}\n\n".encode())


async def _send(stream: web.StreamResponse, data: bytes) -> None:
    """Write; raise `TimeoutError` where the client takes nothing for long."""
    async with asyncio.timeout(WRITE_SECONDS):
        await stream.write(data)
