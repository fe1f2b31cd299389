"""What a step makes of a job's record: the record before in, the record after out; nothing is asked or saved here."""

import random
from typing import Any, Literal

from gateway.core.drive import DriveLook
from gateway.core.job import Condition, Job, JobState, Phase, Problem, Question
from gateway.core.network import NetworkLook
from gateway.core.step import Fail, Inquire, Moment, Recall, Seen, Undo
from gateway.core.text import NAME_LIMIT, clean
from gateway.store.jobs import Watch


def updated(job: Job, **update: Any) -> Job:
    """Return the job with these members."""
    return job.model_copy(update=update)


def with_answer(job: Job, label: str, now: Moment, *, refused: str | None = None, made: int | None = None) -> Job:
    """Return the job with the act answered now, on both clocks."""
    act = job.act(label)
    if act is None:
        return job
    answer = {"answered_at": now.at, "patient_at": now.patient, "refused": refused, "made": made}
    return job.with_act(act.model_copy(update=answer))


def recalled(job: Job, step: Recall, now: Moment) -> Job:
    """Return the job with an act that was sent before Redis forgot it: as one without an answer, sent just now.

    What the object was like before it can no longer be seen: a start since the job was made may be its effect.
    """
    before, act = job.before, step.ask.act(now, None)
    if before is not None and before.started_at is not None:
        before = before.model_copy(update={"started_at": min(before.started_at, job.created_at)})
    begun_at = now.at if job.begun_at is None else job.begun_at
    words = f"VergeOS' log tells of '{act.action}' already; it is not asked for again"
    return updated(job.with_act(act), begun_at=begun_at, before=before, phase=Phase.ASKED, detail=words)


def watch_for(job: Job, wake_when: Literal["on", "off"] | None = None) -> Watch:
    """Return what the watcher must know; a held job is watched too, for the watcher is who finds VergeOS back."""
    since = max((act.intended_at for act in job.acts), default=job.progress_at)
    return Watch(job.target.watched, since, wake_when)


def condition(seen: Seen) -> Condition:
    """Return what is kept of a look at the object: to bring it back, and to tell what the job changed."""
    sizes: dict[str, int | None] = {}
    if seen.vm is not None:
        sizes = {"cpu_cores": seen.vm.cpu_cores, "ram_mb": seen.vm.ram_mb}
    if isinstance(seen.part, DriveLook):
        sizes["size_bytes"] = seen.part.size_bytes
    return Condition(running=seen.running, started_at=seen.started_at, **sizes)


def asking(job: Job, step: Inquire, now: Moment, answer_within: float) -> Job:
    """Return the job with the question that the step wants answered."""
    question = Question(text=step.text, about=step.about, asked_at=now.at, expires_at=now.at + answer_within)
    return updated(job, question=question, state=JobState.INPUT_REQUIRED, detail=step.text)


def left_off(job: Job, seen: Seen | None) -> bool:
    """Tell whether a job that did not reach its wish found the VM running and leaves it off."""
    ran = job.before is not None and job.before.running
    off = seen is not None and not seen.running and not seen.gone
    return ran and off and job.state is not JobState.COMPLETED and job.wish.leads_to != "off"


def given_up(step: Undo) -> Problem:
    """Return why the wish is given up."""
    return Problem(code=step.code, detail=step.detail, next_step=step.next_step)


def not_sent(intent: Job, before: Job) -> Job:
    """Return the job as if the act had never been intended, since it surely did not reach VergeOS."""
    return updated(intent, acts=before.acts, begun_at=before.begun_at, progress_at=before.progress_at)


def target_refused(job: Job, seen: Seen | None, *, mends: bool = False) -> Fail | None:
    """Return why the live object may not be acted on: it is another one than was meant, or a snapshot.

    What only `mends` goes to an object that was renamed as well: it was this job that stopped it.
    """
    look = seen.look if seen is not None else None
    snapshot = look is not None and not isinstance(look, NetworkLook) and look.is_snapshot
    if look is None or snapshot or not job.target.fits(look, named=not mends):
        now = "a snapshot" if snapshot else f"'{clean(look.name, NAME_LIMIT)}'" if look is not None else "nothing"
        return Fail(
            "target_changed",
            f"{job.target.name} (id {job.target.key}) was renamed or replaced: it is {now} now",
            "Look at it again and call for the one you mean.",
        )
    return None


def spread(seconds: float) -> float:
    """Return the seconds give or take a fifth, so that jobs that began together part."""
    return seconds * random.uniform(0.8, 1.2)
