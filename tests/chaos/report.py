"""A run's report, for people: what was done and what happened, and each broken rule with its story."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.judge import RULES
from tests.chaos.run import Outcome

MOST_STORIES = 40


def lines(outcome: Outcome) -> Iterator[str]:
    """Yield the report line by line."""
    plan, evidence = outcome.plan, outcome.evidence
    jobs = evidence.records.values()
    yield f"seed {plan.seed}: {len(plan.calls)} calls on {plan.vms} VMs, {plan.kills} kills, {outcome.seconds:.0f} s"
    yield f"calls       {_counted(outcome.calls)}"
    yield f"troubles    {_counted(outcome.troubles)}"
    yield f"jobs        {len(jobs)}: {_counted(Counter(job.wish.kind for job in jobs))}"
    yield f"ended       {_counted(Counter(_end(job.state, job.trouble) for job in jobs))}"
    sent = Counter(action.action for action in evidence.actions if action.job is not None and action.ok)
    yield f"carried out {_counted(sent)}"
    yield f"by people   {_counted(Counter(action.action for action in evidence.actions if action.job is None))}"
    for gap in evidence.gone_back:
        yield f"Redis went back {gap.back_at - gap.copied_at:.1f} s; {len(outcome.taken_back)} accepted jobs in all taken back"
    if outcome.errors:
        yield f"logged      {_counted(outcome.errors)}"
    if outcome.unsettled:
        yield f"NOT SETTLED {outcome.unsettled}"
    broken = Counter(violation.rule for violation in outcome.violations)
    for name in dict.fromkeys((*(rule.__name__ for rule in RULES), *broken)):
        yield f"  {broken.get(name, 0):4} {name}" if name in broken or not broken else f"     0 {name}"
    for violation in outcome.violations[:MOST_STORIES]:
        yield f"{violation.rule}: job {violation.job}: {violation.story}"
    yield "RIGHT: nothing lost, nothing doubled, nothing wrong" if outcome.right else f"WRONG; logs in {outcome.folder}"


def _end(state: str, trouble: object) -> str:
    code = getattr(trouble, "code", None)
    return f"{state} ({code})" if code else f"{state}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"
