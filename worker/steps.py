"""One run over one job under its fence: look, decide, act, save. Deciding is `core.decide`; this is the edge."""

import asyncio
import time
from typing import Any

from gateway.core.acting import settled_at
from gateway.core.decide import before_begun, held_too_long, next_step, with_answers
from gateway.core.errors import (
    BudgetSpent,
    CircuitOpen,
    UpstreamError,
    VergeOSConflict,
    VergeOSForbidden,
    VergeOSInvalid,
    VergeOSNotFound,
    VergeOSTimeout,
    VergeOSUnreachable,
)
from gateway.core.job import Act, Job, JobState, Phase, Problem
from gateway.core.spender import Kind, Spender
from gateway.core.step import Ask, Confirm, Done, Fail, Inquire, Look, Moment, Recall, Seen, Step, Stopped, Undo, Wait
from gateway.core.trail import Sent
from gateway.services import Services
from gateway.store.jobs import Held
from gateway.telemetry import logs
from gateway.vergeos import spending
from gateway.views.patching import drop_changed, patch_seen
from worker import acts, guarding
from worker.changes import (
    asking,
    condition,
    given_up,
    left_off,
    not_sent,
    recalled,
    spread,
    target_refused,
    updated,
    watch_for,
    with_answer,
)

AT_ONCE_SECONDS = 0.05  # until a step that was interrupted is tried again
QUEUED_SECONDS = 5.0  # how often a job looks whether its turn has come, should its wake be lost
MOST_LOOKS = 12  # of one step at the object
ASKING_SHARE = 0.9  # of a step's time may go to VergeOS; the rest is for saving what came of it
ACTING, LOOKING = Spender(Kind.ACT), Spender(Kind.LOOK)
REFUSALS = (VergeOSInvalid, VergeOSConflict, VergeOSForbidden, VergeOSNotFound)
ENDINGS = {Done: JobState.COMPLETED, Fail: JobState.FAILED, Stopped: JobState.CANCELLED}

log = logs.get_logger(__name__)


class StillBlind(VergeOSUnreachable):
    """Nobody has seen VergeOS since the job was held; it was not asked again, and the trouble stays as it was told."""


class StepRun:
    """One run over one job, under its fence."""

    def __init__(self, services: Services, held: Held, sent: list[Sent]) -> None:
        self._services = services
        self._times = services.settings.times
        self._held = held
        self._sent = sent
        self._ends_at = time.monotonic() + self._times.step * ASKING_SHARE
        self._clock = 0.0  # Redis' time at zero of the monotonic clock
        self._seen: Seen | None = None
        self._looks = 0

    async def advance(self) -> float | None:
        """Decide and act until the job waits or ends; return the seconds until it wants to be run again."""
        unseen = None
        try:
            await self._recall()
        except UpstreamError as error:
            if self._held.job.cancel is None:
                return await self._hold(self._held.job, error)
            unseen = error  # a cancel is heard without sight as well
        while True:
            now = await self._now()
            job = with_answers(self._held.job, now)
            step = before_begun(job, now, self._times) or await guarding.frozen(self._services, job, now)
            if step is None:
                first = await self._goes_first(job, now)
                if first is not None:
                    return await self._queue(job, first, now)
                step = next_step(job, self._seen, now, self._times)
            try:
                step = await guarding.permitted(self._services, job, step, now)
                live = await self._live(job, step)
            except UpstreamError as error:
                return await self._hold(job, error)
            if live:
                continue
            if unseen is not None and isinstance(step, Wait):
                return await self._hold(job, unseen)
            done, due = await self._take(job, step, now)
            if done:
                return due

    async def _take(self, job: Job, step: Step, now: Moment) -> tuple[bool, float | None]:
        """Carry out a decided step; return whether the run is over, and when the job is due again."""
        match step:
            case Ask():
                return await self._act(job, step, now)
            case Confirm():
                await self._save(with_answer(job, step.label, now), tell=False)
            case Recall():
                await self._save(recalled(job, step, now))
            case Undo():
                await self._save(updated(job, undoing=given_up(step), phase=Phase.UNDOING, detail=step.detail))
            case Inquire():
                await self._save(asking(job, step, now, self._times.answer_within))
            case Wait():
                return True, await self._wait(job, step, now)
            case Done() | Fail() | Stopped():
                await self._end(job, step, now)
                return True, None
            case Look():
                raise AssertionError("a look was asked for after a live look")
        return False, None

    # looking

    async def _now(self) -> Moment:
        at = await self._time()
        return Moment(at, at - await self._services.watching.blind_seconds(at))

    async def _time(self) -> float:
        at = await self._services.jobs.now()
        self._clock = at - time.monotonic()
        return at

    async def _recall(self) -> None:
        """Take the watcher's last observation, where it is fresh and newer than what we did last."""
        job = self._held.job
        if not job.acts:
            return
        now = await self._time()
        observed = await self._services.watching.observed(job.target.watched)
        last_act = max(act.intended_at if act.answered_at is None else act.answered_at for act in job.acts)
        if observed is not None and observed.at > max(last_act, now - self._times.fallback):
            self._seen = Seen(observed.at, observed.running, observed.status, observed.started_at)
        elif now - job.progress_at > 0.8 * self._times.fallback:
            await self._look_anyway(job)

    async def _look_anyway(self, job: Job) -> None:
        """Nobody has seen the object for a while: look, unless it is known that nothing can be seen."""
        since = await self._services.watching.blind_since()
        if since is not None and job.trouble is not None:
            raise StillBlind(job.trouble.detail)
        await self._look(job, Look())

    async def _live(self, job: Job, step: Step) -> bool:
        """Look live where the step asks for it, or acts or fails on less; return whether that was done.

        No decider asks for more than a few looks; one that did would spend the budget of all.
        """
        if self._looks >= MOST_LOOKS:
            raise RuntimeError(f"{job.wish.kind} asks for ever: {step}")
        if isinstance(step, Look):
            await self._look(job, step)
            return True
        grave = isinstance(step, Ask) or (isinstance(step, Fail | Inquire) and job.begun_at is not None)
        if grave and (self._seen is None or not self._seen.live):
            await self._look(job, Look())
            return True
        return False

    async def _look(self, job: Job, wanted: Look) -> None:
        self._looks += 1
        try:
            async with asyncio.timeout(self._ends_at - time.monotonic()):
                seen = await acts.look(self._services, job, wanted)
        except TimeoutError:
            raise VergeOSTimeout("VergeOS answers too slowly for a look within the time of a step") from None
        await self._services.watching.saw()
        self._seen = seen
        if seen.gone or seen.partial:
            return
        touched = await patch_seen(self._services.views, job.target, seen)
        held = self._held.job
        before = held.before if held.before is not None and held.acts else condition(seen)
        known = updated(held, before=before, touched={**held.touched, **touched})
        self._held = Held(known, self._held.fence, self._held.asked)

    # whose turn

    async def _goes_first(self, job: Job, now: Moment) -> str | None:
        """Return the job that must go first, None where this one may act."""
        if job.begun_at is not None:
            return None  # it may look and end; an act asks for its turn again when it is saved
        first = await self._services.jobs.turn(job)
        if first is not None or job.overtakes is None:
            return first
        for other in await self._services.jobs.many([job.overtakes]):
            act = other.open_act
            if act is not None and not other.state.final and now.at < settled_at(act, now, self._times):
                return other.id
        return None

    async def _queue(self, job: Job, first: str, now: Moment) -> float | None:
        refused = await guarding.in_line(self._services, job)
        if refused is not None:
            return (await self._take(job, refused, now))[1]
        detail = f"waits for job {first}"
        if job.detail != detail:
            await self._save(updated(job, phase=Phase.QUEUED, detail=detail))
        return spread(min(QUEUED_SECONDS, self._times.fallback))

    # acting

    async def _act(self, job: Job, ask: Ask, now: Moment) -> tuple[bool, float | None]:
        """Save the intent, send the request, save the answer; return whether the run is over."""
        refused = target_refused(job, self._seen, mends=ask.mends)
        if refused is not None and guarding.left_between(job):
            return await self._take(job, Undo(refused.code, refused.detail, refused.next_step), now)
        if refused is not None:
            await self._end(job, refused, now)
            return True, None
        if await self._services.jobs.turn(job) is not None:
            return True, spread(min(QUEUED_SECONDS, self._times.fallback))
        act = ask.act(now, self._seen)
        begun_at = now.at if job.begun_at is None else job.begun_at
        intended = updated(
            job.with_act(act),
            begun_at=begun_at,
            progress_at=now.at,
            state=JobState.WORKING,
            phase=ask.phase,
            detail=ask.detail,
            trouble=None,
            failures=0,
        )
        news = (job.phase, job.detail) != (ask.phase, ask.detail)
        await self._save(intended, tell=news, acts=True, mends=ask.mends)
        self._seen = None
        try:
            await self._send(act)
        except UpstreamError as error:
            intent = self._held.job
            return True, await self._hold(intent if error.maybe_done else not_sent(intent, job), error)
        return False, None

    async def _send(self, act: Act) -> None:
        """Send the act whose intent is saved, unless this run's time is over: then it is another's to send."""
        if time.monotonic() >= self._ends_at:
            raise TimeoutError
        refused = made = None
        try:
            with spending.bound(ACTING):
                made = await acts.perform(self._services, self._held.job, act)
        except REFUSALS as refusal:
            refused = refusal.detail
        answered = with_answer(self._held.job, act.label, await self._now(), refused=refused, made=made)
        await self._save(answered, tell=False)

    async def _hold(self, job: Job, error: UpstreamError) -> float | None:
        """VergeOS could not be asked: keep everything, say so once, try again later; after days of it give up."""
        if isinstance(error, BudgetSpent):
            if job.acts != self._held.job.acts:
                await self._save(job, tell=False)
            return error.retry_after or AT_ONCE_SECONDS
        self._services.site.doubt()
        now = await self._now()
        await self._services.watching.lost_sight(now.at)
        late = held_too_long(job, now, self._times)
        if late is not None:
            await self._end(job, late, now)
            return None
        trouble = Problem(code=error.code, detail=error.detail, next_step=error.next_step)
        if isinstance(error, StillBlind | CircuitOpen) and job.trouble is not None:
            trouble = job.trouble
        told = job.trouble is not None and job.trouble.code == trouble.code
        held = updated(job, trouble=trouble, failures=job.failures + 1, phase=Phase.HELD, detail=trouble.detail)
        await self._save(held, tell=not told, watch=watch_for(job) if job.acts else None)
        doubled: float = self._times.backoff_first * 2 ** min(job.failures, 10)
        return spread(min(doubled, self._times.backoff_last))

    # waiting and ending

    async def _wait(self, job: Job, step: Wait, now: Moment) -> float:
        """Save that the job waits, where that is news, and let the watcher know what for."""
        asking = job.question is not None and job.question.yes is None
        state = JobState.INPUT_REQUIRED if asking else JobState.WORKING
        still = self._seen is None or step.phase is Phase.HELD  # what is held does not come on, whatever is seen
        seen_at = job.progress_at if still or self._seen is None else max(self._seen.at, job.progress_at)
        waiting = updated(
            job, state=state, phase=step.phase, detail=step.detail, trouble=None, failures=0, progress_at=seen_at
        )
        news = (job.state, job.phase, job.detail) != (state, step.phase, step.detail)
        if news or seen_at - job.progress_at > self._times.fallback / 2 or job != self._held.job:
            await self._save(waiting, tell=news, watch=watch_for(job, step.wake_when))
        return max(min(step.until - now.at, spread(self._times.fallback)), AT_ONCE_SECONDS)

    async def _end(self, job: Job, step: Done | Fail | Stopped, now: Moment) -> None:
        """Save the job's end."""
        detail, problem = step.detail, None
        if isinstance(step, Fail):
            if step.explain:
                detail = f"{detail}. VergeOS says: {await self._explanation(job)}"
            problem = Problem(code=step.code, detail=detail, next_step=step.next_step)
        state = ENDINGS[type(step)]
        seen = self._seen
        if seen is not None and not seen.gone:
            patched = {} if seen.partial else await patch_seen(self._services.views, job.target, seen)
            dropped = await drop_changed(self._services.views, job)
            at_end = None if seen.partial else condition(seen)
            job = updated(job, touched={**job.touched, **patched, **dropped}, at_end=at_end)
        job = updated(job, state=state, detail=detail, result=step.result or None, trouble=problem, ended_at=now.at)
        await self._save(job)
        acts.tell_end(self._services, job)
        self._services.metrics.ended(job, now.at, left_off=left_off(job, self._seen))
        log.info("job ended", tool=job.tool, state=state.value, detail=detail)

    async def _explanation(self, job: Job) -> str:
        try:
            return await acts.explanation(self._services, job) or "nothing"
        except UpstreamError as error:
            return f"nothing that could be read ({error.code})"

    async def _save(self, job: Job, **how: Any) -> None:
        """Save the job; the requests since the last save are told with it."""
        told = len(self._sent)
        calls = [request.call(self._clock) for request in self._sent]
        self._held = await self._services.jobs.save(self._held, job, calls=calls, **how)
        del self._sent[:told]
