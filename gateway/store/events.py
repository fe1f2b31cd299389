"""Events told to many: one blocking read of the stream per process, bounded queues behind it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from redis.exceptions import RedisError

from gateway.core.errors import StoreError
from gateway.core.events import JobEvent
from gateway.store.connection import RedisClient
from gateway.store.jobs import Jobs
from gateway.telemetry.logs import get_logger

BLOCK_MS = 5_000
PAUSE_SECONDS = 0.5  # between tries while Redis is away
QUEUE_LENGTH = 256  # a follower that falls this far behind is cut off and may resume
MOST_CHANGES = 1_000  # names kept for a listener that is busy; past them he is told that anything may have changed

MAIL = "mail:"

log = get_logger(__name__)


class Changes:
    """What has changed since it was last taken: names of views, `job:` and a job's id, `mail:` and a session's key."""

    def __init__(self) -> None:
        self._names: set[str] | None = set()  # None: anything
        self._some = asyncio.Event()

    def note(self, name: str) -> None:
        """Add a change; past `MOST_CHANGES` names only that anything may have changed is kept."""
        if self._names is not None:
            self._names.add(name)
            if len(self._names) > MOST_CHANGES:
                self._names = None
        self._some.set()

    def note_any(self) -> None:
        """Keep that anything may have changed."""
        self._names = None
        self._some.set()

    async def take(self) -> set[str] | None:
        """Wait for a change and return all there are, each once; None when anything may have changed."""
        await self._some.wait()
        self._some.clear()
        names, self._names = self._names, set()
        return names


class Following:
    """The events of one job as they come; `too_slow` tells afterwards that its reader fell too far behind."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[JobEvent | None] = asyncio.Queue(QUEUE_LENGTH)
        self.too_slow = False
        self._events: AsyncIterator[JobEvent] | None = None

    def over(self, events: AsyncIterator[JobEvent]) -> "Following":
        """Return this, to be iterated over these events."""
        self._events = events
        return self

    def __aiter__(self) -> "Following":
        return self

    async def __anext__(self) -> JobEvent:
        if self._events is None:
            raise StopAsyncIteration
        return await anext(self._events)

    def put(self, event: JobEvent | None) -> None:
        """Add an event, or the end; a full queue is emptied and ended: its reader resumes and holds up nobody."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.too_slow = event is not None
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)


class Feed:
    """Job events as they happen; `changed_view(name, generation)` hears of views that changed elsewhere.

    `dropped()` hears of each follower who is cut off because he reads too slowly.
    """

    def __init__(
        self,
        redis: RedisClient,
        jobs: Jobs,
        changed_view: Callable[[str, int], None],
        dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._jobs = jobs
        self._changed_view = changed_view
        self._dropped = dropped
        self._followers: defaultdict[str, set[Following]] = defaultdict(set)
        self._listeners: set[Changes] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def followers(self) -> int:
        """How many follow a job now."""
        return sum(map(len, self._followers.values()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Feed"]:
        """Read the stream while the block lasts; at its end every follower is let go."""
        task = asyncio.create_task(self._read_for_ever(), name="event-feed")
        try:
            yield self
        finally:
            while not task.done():  # Python 3.11 may lose a cancel: it is said until it is heard
                task.cancel()
                await asyncio.wait({task}, timeout=PAUSE_SECONDS)
            self.let_go()

    def let_go(self) -> None:
        """End every follower's iteration: the process stops, or events may have been missed."""
        for followers in list(self._followers.values()):
            for follower in followers:
                follower.put(None)

    @asynccontextmanager
    async def follow(self, job_id: str, after_seq: int = 0) -> AsyncIterator[Following]:
        """Yield a job's events with a higher `seq`: stored ones first, then live ones, up to its last.

        The iteration also ends when the process stops or the follower is too slow; ask again with the
        last `seq` then. Raises `UnknownJob`, `StoreError`.
        """
        following = Following()
        self._followers[job_id].add(following)
        try:
            await self._jobs.get(job_id)
            yield following.over(self._events(job_id, after_seq, following.queue))
        finally:
            self._followers[job_id].discard(following)
            if not self._followers[job_id]:
                del self._followers[job_id]

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[Changes]:
        """Yield what changes while the block lasts, jobs and views; a view that was read anew but is as before is none.

        Nothing is missed while Redis is away for a moment: reading goes on after the last entry read.
        """
        changes = Changes()
        self._listeners.add(changes)
        try:
            yield changes
        finally:
            self._listeners.discard(changes)

    async def _events(
        self, job_id: str, after_seq: int, queue: asyncio.Queue[JobEvent | None]
    ) -> AsyncIterator[JobEvent]:
        for event in await self._jobs.events(job_id, after_seq):
            after_seq = event.seq
            yield event
            if event.state.final:
                return
        while (live := await queue.get()) is not None:
            if live.seq <= after_seq:
                continue
            after_seq = live.seq
            yield live
            if live.state.final:
                return

    async def _read_for_ever(self) -> None:
        last = None
        while True:
            try:
                last = await (self._newest() if last is None else self._read(last))
            except (RedisError, StoreError, OSError) as exc:
                log.warning("event feed interrupted", error=type(exc).__name__)
                self.let_go()  # they resume from the stored events, and we from the last entry read: none is missed
                await asyncio.sleep(PAUSE_SECONDS)

    async def _newest(self) -> str:
        """Return the id of the newest entry: the feed begins after it, and whoever followed before starts over."""
        newest = await self._redis.xrevrange(self._jobs.keys.events, count=1)
        self.let_go()
        for listener in self._listeners:
            listener.note_any()
        return newest[0][0].decode() if newest else "0-0"

    async def _read(self, last: str) -> str:
        """Read what came after `last` and hand it out; return the last id read."""
        answer: Any = await self._redis.xread({self._jobs.keys.events: last}, count=500, block=BLOCK_MS)
        for _, entries in answer or []:
            for entry_id, fields in entries:
                last = entry_id.decode()
                try:
                    self._hand_out(fields)
                except (ValueError, KeyError, TypeError) as exc:  # what a newer version writes must not end our feed
                    log.warning("event not understood", entry=last, error=type(exc).__name__)
        return last

    def _hand_out(self, fields: dict[bytes, bytes]) -> None:
        if b"view" in fields:
            changed = orjson.loads(fields[b"view"])
            view, generation = changed["view"], changed["generation"]
            if not changed.get("same", False):  # whoever remembers the rows may show them to the end of their life
                self._changed_view(view, generation)
                self._note(view)
        elif b"job" in fields:
            event = JobEvent.model_validate_json(fields[b"job"])
            for follower in self._followers.get(event.job_id, ()):
                if follower.queue.full():
                    self._dropped()
                follower.put(event)
            self._note(f"job:{event.job_id}")
        elif b"mail" in fields:
            self._note(f"{MAIL}{fields[b'mail'].decode()}")

    def _note(self, change: str) -> None:
        for listener in self._listeners:
            listener.note(change)
