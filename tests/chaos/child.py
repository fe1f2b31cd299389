"""How a chaos run starts gateways and workers: the product as it is, with three seams and at most one mutant.

The seams: each act carries its job and label in a header, so that VergeOS' own list of actions can be held
against the records; a caller is who he says he is; a worker's clock may be off.
"""

import sys
import time
from contextvars import ContextVar
from os import environ

from tests.chaos.evidence import MARK_HEADER

SKEW, MUTANT, CALLER_HEADER = "CHAOS_SKEW_SECONDS", "CHAOS_MUTANT", "X-Chaos-Caller"


def skew_clock(seconds: float) -> None:
    """Let the wall clock of this process be off; what measures durations is not touched."""
    true = time.time
    time.time = lambda: true() + seconds


def mark_acts() -> None:
    """Send the job and the label of the act with each request that a worker's act makes."""
    from gateway.vergeos.exchange import Exchange
    from worker import acts

    marked: ContextVar[str] = ContextVar("mark", default="")
    perform, send = acts.perform, Exchange.send

    async def performed(services, job, act):
        marked.set(f"{job.id}/{act.label}")
        try:
            return await perform(services, job, act)
        finally:
            marked.set("")

    async def sent(self, request, headers, seconds):
        mark = {MARK_HEADER: marked.get()} if marked.get() else {}
        return await send(self, request, {**headers, **mark}, seconds)

    acts.perform, Exchange.send = performed, sent


def name_callers() -> None:
    """Take the caller's name from a header: what keys do in earnest."""
    from dataclasses import replace

    from gateway.transports import context

    def caller_of(request):
        return replace(context.LOCAL, name=request.headers.get(CALLER_HEADER, context.LOCAL.name))

    context.caller_of = caller_of


def main() -> int:
    if environ.get(SKEW):
        skew_clock(float(environ[SKEW]))
    name_callers()
    mark_acts()
    if environ.get(MUTANT):
        from tests.chaos.mutants import MUTANTS

        MUTANTS[environ[MUTANT]].apply()
    from gateway.__main__ import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
