"""Wishes for VMs that need not exist: the store asks VergeOS nothing."""

from gateway.core.job import JobState, Question, Target
from gateway.core.wishes import PowerOff
from gateway.store.jobs import Jobs
from gateway.store.keys import Keys
from gateway.store.submission import Draft, Rules, submit

SAME_CALL_SECONDS = 120.0
SITE = "test-site"


def jobs_on(redis, **more):
    """Return the jobs of a site of the tests' own."""
    return Jobs(redis, Keys(SITE), **{"days": 30, **more})


def draft(owner="ann", wish=None, vm=34, tool="power_off_vm", **more):
    """Return a wish for a VM."""
    target = Target(key=vm, machine_key=vm + 7, name=f"vm-{vm}", uuid=f"uuid-{vm}")
    wish = PowerOff(wait_seconds=30) if wish is None else wish
    return Draft(tool=tool, arguments={}, wish=wish, target=target, owner=owner, face="rest", **more)


async def submitted(jobs, *args, same_call_seconds=SAME_CALL_SECONDS, most_open=0, **more):
    """Submit a wish as `draft` makes it; return the answer."""
    return await submit(jobs, draft(*args, **more), Rules(same_call_seconds, most_open=most_open))


async def end(jobs, job_id, state="completed"):
    """End a job as a step does; return it."""
    held = await jobs.hold(job_id)
    now = await jobs.now()
    ended = held.job.model_copy(update={"state": JobState(state), "ended_at": now})
    return (await jobs.save(held, ended)).job


async def asking(jobs, job_id):
    """Let a job ask a question; return what the step holds then."""
    held = await jobs.hold(job_id)
    now = await jobs.now()
    question = Question(text="Go on?", about="gap", asked_at=now, expires_at=now + 300)
    return await jobs.save(held, held.job.model_copy(update={"question": question, "state": JobState.INPUT_REQUIRED}))
