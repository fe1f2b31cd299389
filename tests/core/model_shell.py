"""The edge around the deciders as worker/steps.py has it, small and without I/O, on the model's VergeOS.

It saves the intent before an act and the answer after it, decides grave steps on a live look, and may
die between any two lines; then the next one goes on from what was saved.
"""

import math

from model_vm import TIMES, Lost, Refused, Unreachable

from gateway.core.decide import before_begun, next_step, with_answers
from gateway.core.job import Condition, Job, JobState, Phase, Problem, Question, Wished
from gateway.core.step import Ask, Confirm, Done, Fail, Inquire, Look, Moment, Recall, Seen, Stopped, Undo, Wait
from worker.changes import recalled

AT_ONCE_SECONDS = 0.05
CLOCKS_APART_SECONDS = 10.0
ROUNDS_IN_A_STEP = 40
ENDINGS = {Done: JobState.COMPLETED, Fail: JobState.FAILED, Stopped: JobState.CANCELLED}
BESIDE = {"cancel", "joiners", "note"}


class Died(Exception):
    """The worker's process is gone; only what was saved is left."""


class Moved(Exception):
    """Somebody asked something of the job since it was read."""


class Shell:
    """Workers, watcher and people around one job."""

    def __init__(self, world, job, *, death, tick):
        self.world = world
        self.rng = world.rng
        self.saved = self.accepted = job
        self.forgot = False
        self.death = death
        self.deaths_left = 8
        self.tick = tick
        self.begin = world.now
        self.cancel = None
        self.answer = None
        self.heard = None
        self.asked = False
        self.watch = None
        self.blind_since, self.blind_total = None, 0.0
        self.held = None
        self.seen = None
        self.sends = []
        self.last_seen = None

    # what callers do

    def withdraw(self):
        self.cancel = Wished(by="ann", at=self.world.now)
        self.asked = True

    def say(self, *, yes, asked_at):
        question = self.saved.question
        if question is not None and question.asked_at == asked_at and question.yes is None:
            self.answer = (asked_at, yes, self.world.now)
            self.asked = True

    # the record

    def _read(self):
        update = {"cancel": self.cancel}
        question = self.saved.question
        if self.answer is not None and question is not None and question.yes is None:
            asked_at, yes, at = self.answer
            if asked_at == question.asked_at:
                update["question"] = question.model_copy(update={"yes": yes, "answered_at": at})
        self.heard = (self.cancel, self.answer)
        return self.saved.model_copy(update=update)

    def _save(self, job, *, acts=False, watch=None):
        self._may_die()
        if acts and self.heard != (self.cancel, self.answer):
            raise Moved
        self.saved = self.held = job
        self.watch = watch
        self._may_die()

    def _may_die(self):
        if self.deaths_left and self.rng.random() < self.death:
            self.deaths_left -= 1
            raise Died

    def rise(self):
        """Begin again from the stored text of the record."""
        self.saved = Job.model_validate_json(self.saved.model_dump_json(exclude=BESIDE))

    def forget(self):
        """Redis comes back from its oldest copy: the job was accepted and has done nothing yet."""
        self.saved, self.watch, self.forgot = self.accepted, None, True

    # seeing

    def look_around(self):
        """What the watcher does at a tick: it tells whether VergeOS can be seen."""
        if self.world.unseen(self.world.now):
            self.lost_sight()
        else:
            self.saw()

    def lost_sight(self):
        if self.blind_since is None:
            self.blind_since = self.world.now
            if self.tick is not None:
                self.world.clock.after(self.tick_after(self.world.now) - self.world.now, self.look_around)

    def saw(self):
        if self.blind_since is not None:
            self.blind_total += self.world.now - self.blind_since
            self.blind_since = None

    def now(self):
        at = self.world.now
        running = 0.0 if self.blind_since is None else at - self.blind_since
        return Moment(at, at - self.blind_total - running)

    def _ticks(self, moment):
        return math.floor((moment - self.begin) / self.tick + 1e-6)

    def tick_after(self, moment):
        """Return when the watcher looks next, and sees something."""
        at = self.begin + (self._ticks(moment) + 1) * self.tick
        while self.world.unseen(at):
            at += self.tick
        return at

    def _observed(self):
        at = self.begin + self._ticks(self.world.now) * self.tick
        while self.world.unseen(at):
            at -= self.tick
        if at < self.begin:
            return None
        _, running, status, started_at = self.world.state_at(at)
        return Seen(at, running, status, started_at)

    def _recall(self):
        job = self.held
        if not job.acts:
            return
        observed = self._observed() if self.tick is not None else None
        last_act = max(act.intended_at if act.answered_at is None else act.answered_at for act in job.acts)
        if observed is not None and observed.at > max(last_act, self.world.now - TIMES.fallback):
            self.seen = observed
        elif self.world.now - job.progress_at > 0.8 * TIMES.fallback:
            if self.tick is not None and self.blind_since is not None and job.trouble is not None:
                raise Unreachable
            self._look(job, Look())

    def _live(self, job, step):
        if isinstance(step, Look):
            self._look(job, step)
            return True
        grave = isinstance(step, Ask) or (isinstance(step, Fail | Inquire) and job.begun_at is not None)
        if grave and (self.seen is None or self.seen.vm is None):
            self._look(job, Look())
            return True
        return False

    def _look(self, job, wanted):
        act = job.open_act
        since = job.created_at if act is None else act.intended_at - CLOCKS_APART_SECONDS
        self.seen = self.world.look(log=wanted.log, log_since=since, rooms=wanted.rooms)
        self.saw()
        self._may_die()
        vm, known = self.seen.vm, self.held.before
        if known is None or not self.held.acts:
            known = Condition(
                running=self.seen.running, cpu_cores=vm.cpu_cores, ram_mb=vm.ram_mb, started_at=self.seen.started_at
            )
        self.held = self.held.model_copy(update={"before": known})

    # one step

    def advance(self):
        """Take one step; return the seconds until the next, None at the end."""
        if self.saved.state.final:
            return None
        self.seen, self.asked, self.held = None, False, self._read()
        blind = False
        try:
            self._recall()
        except Unreachable:
            if self.cancel is None:
                return self._hold(self.held)
            blind = True  # a cancel is heard without sight as well
        for _ in range(ROUNDS_IN_A_STEP):
            now = self.now()
            job = with_answers(self.held, now)
            step = before_begun(job, now, TIMES) or next_step(job, self.seen, now, TIMES)
            if blind and isinstance(step, Wait):
                return self._hold(job)
            try:
                if self._live(job, step):
                    continue
                done, due = self._take(job, step, now)
            except (Unreachable, Lost):
                return self._hold(self.held if isinstance(step, Ask) else job)
            except Moved:
                return AT_ONCE_SECONDS
            if done:
                return due
        raise AssertionError(f"a step never comes to rest: {step}")

    def _take(self, job, step, now):
        match step:
            case Ask():
                self._act(job, step, now)
            case Confirm():
                self._save(answered(job, step.label, now))
            case Recall():
                self._save(recalled(job, step, now))
            case Undo():
                problem = Problem(code=step.code, detail=step.detail, next_step=step.next_step)
                self._save(job.model_copy(update={"undoing": problem, "phase": Phase.UNDOING, "detail": step.detail}))
            case Inquire():
                self._inquire(job, step, now)
            case Wait():
                return True, self._wait(job, step, now)
            case Done() | Fail() | Stopped():
                self._end(job, step, now)
                return True, None
        return False, None

    def _act(self, job, ask, now):
        act = ask.act(now, self.seen)
        update = {
            "begun_at": now.at if job.begun_at is None else job.begun_at,
            "progress_at": now.at,
            "state": JobState.WORKING,
            "phase": ask.phase,
            "detail": ask.detail,
            "trouble": None,
        }
        self._save(job.with_act(act).model_copy(update=update), acts=True)
        self.sends.append((now, job, ask, self.seen))
        self.seen, refused = None, None
        try:
            self.world.request(act.action, act.params)
        except Refused as refusal:
            refused = str(refusal)
        except Unreachable:
            self.held = job
            raise
        self._may_die()
        self._save(answered(self.held, act.label, self.now(), refused))

    def _inquire(self, job, step, now):
        expires_at = now.at + TIMES.answer_within
        question = Question(text=step.text, about=step.about, asked_at=now.at, expires_at=expires_at)
        self._save(job.model_copy(update={"question": question, "state": JobState.INPUT_REQUIRED}))
        said = self.rng.choice((True, False, None))
        if said is not None:
            seconds = self.rng.uniform(0.0, TIMES.answer_within + 20.0)
            self.world.clock.after(seconds, lambda: self.say(yes=said, asked_at=now.at))

    def _hold(self, job):
        self.lost_sight()
        trouble = Problem(code="unseen", detail="VergeOS does not answer", next_step="")
        held = job.model_copy(update={"trouble": trouble, "failures": job.failures + 1, "phase": Phase.HELD})
        self._save(held, watch=(None,))
        return min(TIMES.backoff_first * 2 ** min(job.failures, 10), TIMES.backoff_last)

    def _wait(self, job, step, now):
        asking = job.question is not None and job.question.yes is None
        seen_at = job.progress_at if self.seen is None else max(self.seen.at, job.progress_at)
        news = {
            "state": JobState.INPUT_REQUIRED if asking else JobState.WORKING,
            "phase": step.phase,
            "detail": step.detail,
        }
        waiting = job.model_copy(update={**news, "trouble": None, "failures": 0, "progress_at": seen_at})
        told = any(getattr(job, name) != value for name, value in news.items())
        if told or seen_at - job.progress_at > TIMES.fallback / 2 or job != self.held:
            self._save(waiting, watch=(step.wake_when,))
        return max(min(step.until - now.at, TIMES.fallback * self.rng.uniform(0.8, 1.2)), AT_ONCE_SECONDS)

    def _end(self, job, step, now):
        problem = None
        if isinstance(step, Fail):
            problem = Problem(code=step.code, detail=step.detail, next_step=step.next_step)
        end = {
            "state": ENDINGS[type(step)],
            "detail": step.detail,
            "result": step.result or None,
            "trouble": problem,
            "ended_at": now.at,
        }
        self.last_seen = self.seen
        self._save(job.model_copy(update=end))

    # between steps

    def sleep(self, seconds):
        """Let time pass until the job is due, or until the watcher wakes it."""
        world, until = self.world, self.world.now + seconds
        wakes = self.tick is not None and self.watch is not None
        wake_when = self.watch[0] if wakes else None
        before = world.state_at(world.now)
        while world.now < until:
            matches = wake_when is not None and world.vm.running == (wake_when == "on")
            changed = wakes and world.state_at(world.now) is not before
            if self.asked or matches or changed:
                world.clock.pass_until(min(until, self.tick_after(world.now) if self.tick else until))
                return
            world.clock.pass_until(min(world.clock.next_due(), until))


def answered(job, label, now, refused=None):
    """Return the job with an act answered now, on both clocks."""
    act = job.act(label)
    if act is None:
        return job
    return job.with_act(act.model_copy(update={"answered_at": now.at, "patient_at": now.patient, "refused": refused}))
