"""A short run of the chaos harness: whatever happens, nothing is lost, doubled or left in a wrong state.

A Prometheus scrapes all of it, and every panel and every rule is asked.
"""

import pytest

from tests.chaos import report
from tests.chaos.plan import make_plan
from tests.chaos.run import run
from tests.deploy.programs import program
from tests.deploy.programs import run as carry_out
from tests.deploy.questions import strange_labels


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_forty_jobs_survive_four_kills_and_everything_else_and_every_panel_has_data_of_it(tmp_path):
    program("prometheus", "apt install prometheus")
    outcome = await run(make_plan(1, jobs=40, vms=12, kills=4), speed=3.0, folder=tmp_path, watched=True)
    assert outcome.right, "\n".join(report.lines(outcome))
    _figures_are_clean(outcome)
    assert sum(outcome.calls[f"accepted {face}"] for face in ("rest", "mcp", "person")) >= 20
    assert "VergeosGatewayVmLeftOff" in outcome.answers.firing
    assert outcome.troubles["kill worker"] + outcome.troubles["kill gateway"] + outcome.troubles["kill redis"] >= 3


def _figures_are_clean(outcome):
    """What gateways and workers told has no fault that promtool knows, and names no object."""
    names = {job.target.name for job in outcome.evidence.records.values()}
    assert len(outcome.answers.figures) == 5
    for figures in outcome.answers.figures:
        carry_out(program("promtool", "apt install prometheus"), "check", "metrics", stdin=figures)
        assert strange_labels(figures, names) == set()
