"""A quarter of the hour that `tests.bench.hour` measures, with a small night in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MINUTES, NIGHT_VMS = 15, 6
LISTS_AN_HOUR, REQUESTS_A_VM = 500, 14


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_many_callers_and_a_night_keep_within_the_hour_and_no_answer_is_older_than_it_says():
    asked = ("--json", "--minutes", str(MINUTES), "--night", str(NIGHT_VMS), "--speed", "15")
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.hour", *asked],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=380,
    ).stdout
    seen = json.loads(told.splitlines()[-1])
    assert seen["failed"] == {}
    assert seen["asked"] > 5_500
    assert seen["upstream"] <= LISTS_AN_HOUR * MINUTES / 60 + REQUESTS_A_VM * NIGHT_VMS
    assert seen["older_than_told_seconds"] < 0.5
    done = {f"{kind} completed": NIGHT_VMS for kind in ("snapshots", "poweroff", "poweron")}
    assert seen["jobs"] == done
