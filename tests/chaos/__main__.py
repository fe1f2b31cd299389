"""`python -m tests.chaos`: a run by seed, or one run for each mutant of the engine; exit code 1 where a rule broke."""

import argparse
import asyncio
import pickle
import shutil
import signal
import sys

from tests.chaos import report
from tests.chaos.focus import FOCUSES, focused
from tests.chaos.mutants import MUTANTS
from tests.chaos.plan import make_plan
from tests.chaos.run import run


def main() -> int:
    parser = argparse.ArgumentParser("tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--vms", type=int, default=24)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=3.0, help="how many times faster than in earnest the engine is")
    parser.add_argument("--seconds", type=float, default=240.0, help="for everything to settle after the plan")
    parser.add_argument("--mutant", choices=MUTANTS, default="", help="take a safeguard out of the engine")
    parser.add_argument("--mutants", action="store_true", help="the table: each mutant must break a rule")
    parser.add_argument("--focus", choices=FOCUSES, default="", help="a plan that dwells on one safeguard")
    parser.add_argument("--keep", action="store_true", help="keep logs and evidence of a run that was right too")
    parser.add_argument("--prometheus", action="store_true", help="scrape all, and ask every panel and rule at the end")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    options = parser.parse_args()
    plan = make_plan(options.seed, jobs=options.jobs, vms=options.vms, kills=options.kills)
    if options.focus:
        plan = focused(options.focus, options.seed)
    if options.plan:
        print("\n".join(plan.lines()))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended then as well
    if options.mutants:
        return asyncio.run(report.mutants(plan, speed=options.speed))
    carried_out = run(
        plan,
        speed=options.speed,
        mutant=options.mutant,
        settle_seconds=options.seconds,
        watched=options.prometheus,
    )
    outcome = asyncio.run(carried_out)
    print("\n".join(report.lines(outcome)))
    if options.keep or not outcome.right:
        (outcome.folder / "evidence.pickle").write_bytes(pickle.dumps(outcome.evidence))
    else:
        shutil.rmtree(outcome.folder)
    return 0 if outcome.right else 1


if __name__ == "__main__":
    sys.exit(main())
