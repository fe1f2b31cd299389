"""`python -m tests.deploy.pictures`: what each dashboard shows of a chaos run, drawn into dist/dashboards/*.png.

A real Prometheus answers the panels' queries; `draw.py` draws the answers with matplotlib, which is in .venv-tools.
"""

import asyncio
import json
import shutil
import subprocess
import sys

from tests.chaos import report
from tests.chaos.plan import make_plan
from tests.chaos.run import run
from tests.deploy.programs import OURS, ROOT

OUT = ROOT / "dist" / "dashboards"
PLAN = {"jobs": 300, "vms": 24, "kills": 12}
SPEED = 3.0


def main() -> int:
    """Run, ask, draw; 1 where a panel or a rule had no answer, or a rule of the run was broken."""
    OUT.mkdir(parents=True, exist_ok=True)
    outcome = asyncio.run(run(make_plan(1, **PLAN), speed=SPEED, watched=True))
    sys.stdout.writelines(f"{line}\n" for line in report.lines(outcome))
    (OUT / "answers.json").write_text(json.dumps(outcome.answers.boards))
    subprocess.run([OURS / "python", ROOT / "tests/deploy/draw.py", OUT], check=True)
    if outcome.right:
        shutil.rmtree(outcome.folder)
    return 0 if outcome.right else 1


if __name__ == "__main__":
    sys.exit(main())
