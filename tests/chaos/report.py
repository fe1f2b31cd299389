"""Reports for people: what a run did and what befell it, each broken rule with its story; the table of the mutants."""

import shutil
from collections import Counter
from collections.abc import Iterator

from tests.chaos.focus import FOCUSES, focused
from tests.chaos.judge import BREACHES
from tests.chaos.mutants import MUTANTS
from tests.chaos.plan import Plan
from tests.chaos.run import Outcome, run
from tests.deploy.questions import Answers

MOST_STORIES, MOST_CHARACTERS = 40, 400
MUTANT_SECONDS = 45.0  # a mutant may never settle


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
        yield f"Redis went back {gap.back_at - gap.copied_at:.1f} s"
    if evidence.gone_back:
        yield f"taken back  {len(outcome.taken_back)} accepted jobs, by old copies of Redis; of those that lost a part:"
        yield f"            {_counted(Counter(violation.rule for violation in outcome.explained))}"
    if outcome.errors:
        yield f"logged      {_counted(outcome.errors)}"
    if outcome.answers is not None:
        yield from _asked(outcome.answers)
    if outcome.unsettled:
        yield f"NOT SETTLED {outcome.unsettled}"
    broken = Counter(violation.rule for violation in outcome.violations)
    for name in BREACHES:
        yield f"{broken[name]:6} {name}"
    for violation in outcome.violations[:MOST_STORIES]:
        yield f"{violation.rule}: job {violation.job}: {violation.story}"
    wrong = f"WRONG; logs and evidence in {outcome.folder}"
    yield "RIGHT: nothing lost, nothing doubled, nothing wrong" if outcome.right else wrong


async def mutants(plan: Plan, *, speed: float) -> int:
    """Run the plan of each mutant and print which rules it broke; return 1 where one broke none.

    The whole engine runs each of these plans first, and must break none.
    """
    plans = {"": plan, **{focus: focused(focus, plan.seed) for focus in FOCUSES}}
    wrong = 0
    for focus, dwelling in plans.items():
        wrong += bool(await _broken(dwelling, f"the whole engine, {focus or 'everything at once'}", speed=speed))
        for name, mutant in MUTANTS.items():
            if mutant.focus == focus:
                wrong += not await _broken(dwelling, f"without {mutant.without}", speed=speed, mutant=name)
    return 1 if wrong else 0


async def _broken(plan: Plan, title: str, *, speed: float, mutant: str = "") -> Counter[str]:
    """Run a plan, print which rules were broken and one story; return how often each was."""
    outcome = await run(plan, speed=speed, mutant=mutant, settle_seconds=MUTANT_SECONDS)
    broken = Counter(violation.rule for violation in outcome.violations)
    nothing = "SURVIVED" if mutant else "nothing broken"
    print(f"{title:45} {_counted(broken) if broken else nothing}  ({outcome.seconds:.0f} s)", flush=True)
    for violation in outcome.violations[:1]:
        print(f"        e.g. {violation.rule}: {violation.story[:MOST_CHARACTERS]}", flush=True)
    shutil.rmtree(outcome.folder)
    return broken


def _asked(answers: Answers) -> Iterator[str]:
    panels = sum(len(board["panels"]) for board in answers.boards)
    yield f"asked       {panels} panels and all rules, {len(answers.silent)} without an answer"
    yield from (f"SILENT      {words}" for words in answers.silent)
    yield f"alerts      {', '.join(sorted(answers.firing)) or 'none'}"


def _end(state: str, trouble: object) -> str:
    code = getattr(trouble, "code", None)
    return f"{state} ({code})" if code else f"{state}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"
