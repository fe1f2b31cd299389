"""`python -m tests.bench.observing`: what a call costs for being observed, against the same call unobserved."""

import os
import sys
import timeit

from gateway.core.access import LOCAL
from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observed import observed_call

CALLS, ROUNDS = 20_000, 5
FACTS = {"site": "lab", "tool": "list_vms", "face": "rest", "caller": LOCAL, "traceparent": ""}


def main() -> None:
    """Print microseconds a call: with its line, and without (LOG_READS=false)."""
    metrics = Metrics()
    out, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    logs.configure("INFO")
    for tells in (True, False):

        def call(tells=tells):
            with observed_call(metrics, **FACTS, tells=tells) as outcome:
                outcome.ok()

        best = min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS
        print(f"{'with' if tells else 'without'} its log line: {best * 1e6:.1f} µs a call", file=sys.stdout)
    os.dup2(out, 2)


if __name__ == "__main__":
    main()
