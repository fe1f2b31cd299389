"""The engine with one of its safeguards taken out: each must make the harness fail. Never part of the product."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """A safeguard and how it is taken out of this process; `focus` is the plan that dwells on it."""

    without: str
    apply: Callable[[], None]
    focus: str = ""


def put(where: Any, **parts: Any) -> None:
    """Put other parts in place of those that a module or class has under these names. Raises AttributeError."""
    for name, part in parts.items():
        getattr(where, name)  # a mutant of what is no longer there would survive
        setattr(where, name, part)


def _no_fence() -> None:
    from gateway.store.jobs import Held, Jobs

    save = Jobs.save

    async def unfenced(self, held, job, **how):
        fence = int(await self.redis.hget(self.keys.job(job.id), "fence") or 0)
        return await save(self, Held(held.job, fence, held.asked), job, **how)

    put(Jobs, save=unfenced)


def _no_order() -> None:
    from gateway.store.jobs import Jobs

    save = Jobs.save

    async def first(_self, _job):
        return None

    async def in_any_order(self, held, job, *, acts=False, **how):
        return await save(self, held, job, **how)

    put(Jobs, turn=first, save=in_any_order)


def _no_look() -> None:
    from gateway.core import acting
    from gateway.core.step import Look
    from worker import steps

    live, refused = steps.StepRun._live, steps.target_refused

    async def blind(self, job, step):
        return await live(self, job, step) if isinstance(step, Look) else False

    put(acting, unsettled=lambda _act, _seen, _now, _times: None)
    put(steps, target_refused=lambda job, seen, **how: refused(job, seen, **how) if seen and seen.live else None)
    put(steps.StepRun, _live=blind)


def _no_sweeper() -> None:
    from worker import runner

    async def sweep(_services):
        return None

    put(runner, sweep=sweep)


def _no_key() -> None:
    from gateway.store import submission

    async def known(*_):
        return None

    put(submission, _known=known)


def _no_intent() -> None:
    from gateway.store.jobs import Held, Jobs

    save = Jobs.save

    async def answers_only(self, held, job, *, acts=False, **how):
        return Held(job, held.fence, held.asked) if acts else await save(self, held, job, **how)

    put(Jobs, save=answers_only)


def _no_identity() -> None:
    from worker import steps

    put(steps, target_refused=lambda _job, _seen, **_: None)


MUTANTS = {
    "fence": Mutant("the fence of a save", _no_fence, "two runs"),
    "order": Mutant("the order of a VM's jobs", _no_order),
    "look": Mutant("the look before an act", _no_look, "slow writes"),
    "sweeper": Mutant("the sweeper", _no_sweeper, "lost steps"),
    "key": Mutant("the idempotency key", _no_key),
    "intent": Mutant("the intent before the act", _no_intent, "slow writes"),
    "identity": Mutant("the check of name, uuid and machine", _no_identity, "other objects"),
}
