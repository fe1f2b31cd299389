"""Networks and tenants: which step follows from which job, sight and moment."""

from dataclasses import replace

import pytest
from decider_cases import CANCEL, TIMES, answered, asked, at, decided, job_of, observed, refused, table

from gateway.core.decide import next_step
from gateway.core.job import Condition, Target
from gateway.core.network import NetworkLook
from gateway.core.step import Seen
from gateway.core.tenant import TenantLook
from gateway.core.wishes import NetworkAction, TenantAction

TARGETS = {
    "network": Target(kind="network", key=4, machine_key=9, name="Internal", uuid=""),
    "tenant": Target(kind="tenant", key=4, machine_key=None, name="acme", uuid="u-4"),
}
WISHES = {"network": NetworkAction, "tenant": TenantAction}
ON, ON_LOST = answered("poweron", 1.0), asked("poweron", 1.0)
OFF, OFF_LOST = answered("poweroff", 1.0), asked("poweroff", 1.0)
RESET, RESET_LOST = answered("reset", 1.0), asked("reset", 1.0)
APPLY, APPLY_LOST = answered("apply", 1.0, "refresh"), asked("apply", 1.0, "refresh")


def switching(kind, action, *acts, ran, **more):
    before = Condition(running=ran, started_at=-500.0 if ran else None)
    return job_of(WISHES[kind](action=action), *acts, target=TARGETS[kind], **{"before": before, **more})


def looked(kind, status, seconds=1, *, started_at=-500.0, pending=False, log=None):
    """A live look at the network or tenant."""
    running = status in {"running", "stopping"}
    values = {"key": 4, "running": running, "status": status, "started_at": started_at}
    if kind == "network":
        look = NetworkLook(**values, machine=9, name="Internal", type="internal", need_fw_apply=pending)
    else:
        look = TenantLook(**values, name="acme", uuid="u-4", is_snapshot=False)
    return replace(Seen.of(look, seconds), asked_in_log=log)


def both(*cases):
    """The cases for a network and for a tenant; each builds its job and sight from the kind."""
    made = [
        (f"{kind}: {words}", job(kind), seen if seen is None or isinstance(seen, Seen) else seen(kind), now, step)
        for kind in WISHES
        for words, job, seen, now, step in cases
    ]
    return table(*made)


def on(*acts, **more):
    return lambda kind: switching(kind, "poweron", *acts, ran=False, **more)


def off(*acts, **more):
    return lambda kind: switching(kind, "poweroff", *acts, ran=True, **more)


def reset(*acts, **more):
    return lambda kind: switching(kind, "reset", *acts, ran=True, **more)


def sees(status, seconds=1, **more):
    return lambda kind: looked(kind, status, seconds, **more)


@pytest.mark.parametrize(
    **both(
        ("nothing seen yet", on(), None, at(0), "look"),
        ("off", on(), sees("stopped"), at(1), "ask poweron"),
        ("runs", on(), sees("running"), at(1), "done: was running already"),
        ("another starts it", on(), sees("starting"), at(1), "wait until 150"),
        ("another stops it", on(), sees("stopping"), at(1), "wait until 150 or off"),
        ("hangs in stopping", on(), sees("stopping", 151), at(151), "fail: still_stopping"),
        ("no answer yet", on(ON_LOST), sees("stopped", 2), at(2), "wait until 7"),
        ("no answer, no late look", on(ON_LOST), observed("stopped", 8), at(8), "look"),
        ("no answer, not begun", on(ON_LOST), sees("stopped", 8), at(8), "ask poweron"),
        ("no answer, begun", on(ON_LOST), sees("starting", 8), at(8), "confirm poweron"),
        ("no answer, runs", on(ON_LOST), sees("running", 8), at(8), "confirm poweron"),
        (
            "no answer, cancelled",
            on(ON_LOST, cancel=CANCEL),
            sees("stopped", 8),
            at(8),
            "stopped: cancelled; 'poweron' may have been sent and takes its course",
        ),
        ("no answer, cancelled, may still land", on(ON_LOST, cancel=CANCEL), None, at(2), "wait until 7"),
        ("taken", on(ON), sees("starting", 2), at(2), "wait until 7 or on"),
        ("taken, runs", on(ON), observed("running", 3), at(3), "done: runs"),
        ("fell back", on(ON), sees("stopped", 8), at(8), "fail: start_failed"),
        ("never runs", on(ON), sees("starting", 152), at(152), "fail: start_timeout"),
        (
            "cancelled",
            on(ON, cancel=CANCEL),
            sees("starting", 2),
            at(2),
            "stopped: cancelled; 'poweron' had been sent and takes its course",
        ),
        ("refused, nothing seen", on(refused("poweron", 1.0)), None, at(2), "look"),
        ("refused", on(refused("poweron", 1.0)), sees("stopped", 2), at(2), "fail: refused"),
        ("refused, but runs", on(refused("poweron", 1.0)), sees("running", 2), at(2), "done: runs"),
        ("after a gap", on(OFF), sees("stopped", 700), at(700), "inquire about gap"),
    )
)
def test_power_on(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **both(
        ("nothing seen yet", off(), None, at(0), "look"),
        ("runs", off(), sees("running"), at(1), "ask poweroff"),
        ("off", off(), sees("stopped"), at(1), "done: was off already"),
        ("another starts it", off(), sees("starting"), at(1), "wait until 150 or on"),
        ("hangs in starting", off(), sees("starting", 151), at(151), "fail: still_starting"),
        ("no answer yet", off(OFF_LOST), sees("running", 2), at(2), "wait until 7"),
        ("no answer, no late look", off(OFF_LOST), observed("running", 8), at(8), "look with log"),
        ("no answer, the log was not read", off(OFF_LOST), sees("running", 8), at(8), "look with log"),
        ("no answer, not sent", off(OFF_LOST), sees("running", 8, log=False), at(8), "ask poweroff"),
        ("no answer, in the log", off(OFF_LOST), sees("running", 8, log=True), at(8), "confirm poweroff"),
        ("no answer, stopping", off(OFF_LOST), sees("stopping", 8, log=False), at(8), "confirm poweroff"),
        ("no answer, off: it may still land", off(OFF_LOST), sees("stopped", 2), at(2), "wait until 7"),
        ("no answer, off", off(OFF_LOST), sees("stopped", 8), at(8), "done: off"),
        (
            "no answer, cancelled",
            off(OFF_LOST, cancel=CANCEL),
            sees("running", 8),
            at(8),
            "stopped: cancelled; 'poweroff' may have been sent and takes its course",
        ),
        ("taken", off(OFF), sees("stopping", 2), at(2), "wait until 151 or off"),
        ("taken, off", off(OFF), observed("stopped", 3), at(3), "done: off"),
        ("never off", off(OFF), sees("running", 152), at(152), "fail: still_running"),
        (
            "time in which nothing could be seen",
            off(OFF),
            sees("running", 152),
            at(152, blind=50),
            "wait until 201 or off",
        ),
        ("refused, nothing seen", off(refused("poweroff", 1.0)), None, at(2), "look"),
        ("refused", off(refused("poweroff", 1.0)), sees("running", 2), at(2), "fail: refused"),
    )
)
def test_power_off(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **both(
        ("nothing seen yet", reset(), None, at(0), "look"),
        ("runs", reset(), sees("running"), at(1), "ask reset"),
        ("off", reset(), sees("stopped"), at(1), "fail: not_running"),
        ("may have forgotten", reset(), sees("running", 6), at(6), "look with log"),
        ("may have forgotten, nothing seen", reset(), None, at(6), "look with log"),
        ("may have forgotten, not in the log", reset(), sees("running", 6, log=False), at(6), "ask reset"),
        ("may have forgotten, in the log", reset(), sees("running", 6, log=True), at(6), "recall reset"),
        ("may have forgotten, in the log, off", reset(), sees("stopped", 6, log=True), at(6), "recall reset"),
        ("no answer yet", reset(RESET_LOST), sees("running", 2), at(2), "wait until 7"),
        ("no answer, no late look", reset(RESET_LOST), observed("running", 8, started_at=-500.0), at(8), "look"),
        ("no answer: never sent again", reset(RESET_LOST), sees("running", 8), at(8), "fail: outcome_unknown"),
        ("no answer, started anew", reset(RESET_LOST), sees("running", 8, started_at=3.0), at(8), "done: started anew"),
        ("taken", reset(RESET), sees("running", 2), at(2), "wait until 151"),
        ("taken, off in between", reset(RESET), sees("stopped", 2), at(2), "wait until 151"),
        ("started anew", reset(RESET), observed("running", 5, started_at=3.0), at(5), "done: started anew"),
        ("never started anew", reset(RESET), sees("running", 152), at(152), "fail: start_timeout"),
        ("stays off", reset(RESET), sees("stopped", 152), at(152), "fail: start_timeout"),
        (
            "cancelled",
            reset(RESET, cancel=CANCEL),
            sees("stopped", 2),
            at(2),
            "stopped: cancelled; 'reset' had been sent and takes its course",
        ),
        ("refused", reset(refused("reset", 1.0)), sees("running", 2), at(2), "fail: refused"),
    )
)
def test_reset(job, seen, now, step):
    assert decided(job, seen, now) == step


def apply(*acts, **more):
    return switching("network", "apply", *acts, ran=True, **more)


def pending(seconds=1, status="running"):
    return looked("network", status, seconds, pending=True)


def clear(seconds=1, status="running"):
    return looked("network", status, seconds)


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", apply(), None, at(0), "look"),
        ("an observation is not enough", apply(), observed("running"), at(1), "look"),
        ("pending", apply(), pending(), at(1), "ask apply"),
        ("nothing pending", apply(), clear(), at(1), "done: no rules were pending"),
        ("nothing pending, off", apply(), clear(status="stopped"), at(1), "done: no rules were pending"),
        ("pending, off", apply(), pending(status="stopped"), at(1), "fail: not_running"),
        ("no answer yet", apply(APPLY_LOST), pending(2), at(2), "wait until 7"),
        ("no answer, no late look", apply(APPLY_LOST), observed("running", 8), at(8), "look"),
        ("no answer, still pending", apply(APPLY_LOST), pending(8), at(8), "ask apply"),
        ("no answer, done", apply(APPLY_LOST), clear(8), at(8), "done: rules are applied"),
        (
            "no answer, still pending, cancelled",
            apply(APPLY_LOST, cancel=CANCEL),
            pending(8),
            at(8),
            "stopped: cancelled; 'refresh' may have been sent and takes its course",
        ),
        ("taken, looked before", apply(APPLY), pending(0.5), at(2), "look"),
        ("taken, still pending", apply(APPLY), pending(2), at(2), "wait until 4"),
        ("taken, done", apply(APPLY), clear(2), at(2), "done: rules are applied"),
        ("taken, never done", apply(APPLY), pending(32), at(32), "fail: not_applied"),
        ("refused", apply(refused("apply", 1.0, "refresh")), pending(2), at(2), "fail: refused"),
        (
            "cancelled",
            apply(APPLY, cancel=CANCEL),
            pending(2),
            at(2),
            "stopped: cancelled; 'refresh' had been sent and takes its course",
        ),
    )
)
def test_apply(job, seen, now, step):
    assert decided(job, seen, now) == step


def test_a_network_is_reset_with_its_rules_and_applies_them_by_refresh():
    reset_network = next_step(switching("network", "reset", ran=True), looked("network", "running"), at(1), TIMES)
    reset_tenant = next_step(switching("tenant", "reset", ran=True), looked("tenant", "running"), at(1), TIMES)
    assert (reset_network.params, reset_tenant.params) == ({"apply": True}, {})
    assert next_step(apply(), pending(), at(1), TIMES).action == "refresh"


def test_a_job_that_did_nothing_says_so():
    for kind in WISHES:
        step = next_step(switching(kind, "poweroff", ran=False), looked(kind, "stopped"), at(1), TIMES)
        assert step.result == {"running": False, "changed": False}
