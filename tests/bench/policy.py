"""How often one process decides: `python -m tests.bench.policy`."""

import time

from gateway.core.access import Permission
from gateway.rights.policy_file import parse_policy

POLICY = """
roles:
  web:
    allow:
      - {permissions: [read, operate], on: {name: "web-*"}}
      - {permissions: read, on: [{kind: [node, network]}, {tag: [shared, public]}]}
    deny:
      - {permissions: all, on: {tag: secret}}
people:
  ann: {roles: [web, viewer], on: {cluster: [main, lab]}}
"""
ROUNDS = 100_000


def decisions_a_second() -> float:
    """Return how many decisions one process takes a second, about VMs that a rule covers and that none does."""
    right = parse_policy(POLICY).of_person("ann")
    vms = [
        {"kind": ("vm",), "site": ("s",), "name": (f"{part}-{n}",), "tag": ("a", "b"), "cluster": ("main",)}
        for n in range(50)
        for part in ("web", "db")
    ]
    began = time.process_time()
    for number in range(ROUNDS):
        right.decide(Permission.OPERATE if number % 2 else Permission.READ, vms[number % len(vms)])
    return ROUNDS / (time.process_time() - began)


if __name__ == "__main__":
    print(f"{decisions_a_second():,.0f} decisions a second")
