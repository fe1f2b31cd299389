"""Jobs, looks and moments for the tables of the deciders, and a step told in a few words."""

from gateway.core.decide import next_step
from gateway.core.job import Act, Condition, Job, Problem, Question, Target, Wished
from gateway.core.step import Ask, Confirm, Done, Fail, Inquire, Look, Moment, Recall, Seen, Stopped, Undo, Wait
from gateway.core.times import EngineTimes
from gateway.core.vm import VmLook

TIMES = EngineTimes(settle=6, start_within=150, stop_within=30, watch_unforced=300, gap_asks_after=600)
CANCEL = Wished(by="ann", at=1.0)


def job_of(wish, *acts, begun_at=0.0, ran=True, **more):
    """A job made at 0 and, where it has acts, begun at `begun_at`, on a VM of 2 cores and 2048 MB that ran."""
    values = {
        "id": "j1",
        "site": "simulated",
        "tool": "some_tool",
        "arguments": {},
        "wish": wish,
        "target": Target(key=34, machine_key=91, name="web-1", uuid="u-34"),
        "owner": "ann",
        "face": "mcp",
        "created_at": 0.0,
        "updated_at": 0.0,
        "progress_at": 0.0,
        "acts": acts,
        "begun_at": begun_at if acts else None,
        "before": Condition(running=ran, cpu_cores=2, ram_mb=2048, started_at=-500.0 if ran else None),
    }
    return Job(**{**values, **more})


def asked(label, at=0.0, action=None, **more):
    """An act whose answer has not come."""
    return Act(label=label, action=label if action is None else action, intended_at=at, **more)


def answered(label, at=0.0, action=None, **more):
    """An act that VergeOS took at `at`, on a patient clock that never stood still."""
    return asked(label, at, action, answered_at=at, patient_at=at, **more)


def refused(label, at=0.0, action=None):
    return answered(label, at, action, refused="not now")


def observed(status, at=1.0, *, running=None, started_at=None):
    """What the watcher saw; only a VM that is running, stopping or migrating counts as running."""
    runs = status in {"running", "stopping", "migrating"} if running is None else running
    return Seen(at=at, running=runs, status=status, started_at=started_at)


def live(status, at=1.0, *, running=None, started_at=-500, cores=2, ram_mb=2048, log=None, room_mb=None, **more):
    """A live look, with what the machine's log tells where `log` says it was read."""
    seen = observed(status, at, running=running)
    values = {
        "key": 34,
        "machine": 91,
        "name": "web-1",
        "uuid": "u-34",
        "is_snapshot": False,
        "enabled": True,
        "allow_hotplug": True,
        "guest_agent": True,
        "running": seen.running,
        "status": status,
        "status_info": "",
        "started_at": started_at,
        "node": None,
        "cpu_cores": cores,
        "ram_mb": ram_mb,
        "need_restart": False,
        "max_cores_per_vm": None,
        "max_ram_mb_per_vm": None,
    }
    return Seen(
        at=at,
        running=seen.running,
        status=status,
        started_at=started_at,
        vm=VmLook(**{**values, **more}),
        asked_in_log=log,
        rooms=True,
        room_mb=room_mb,
    )


def question(about, *, asked_at=0.0, yes=None, answered_at=None):
    return Question(
        text="?", about=about, asked_at=asked_at, expires_at=asked_at + 300.0, yes=yes, answered_at=answered_at
    )


def undoing(code="cancelled"):
    return Problem(code=code, detail="it went wrong", next_step="")


def at(seconds, *, blind=0.0):
    """Now, of which for `blind` seconds VergeOS could not be seen."""
    return Moment(seconds, seconds - blind)


def decided(job, seen, now):
    """What comes next, in a few words."""
    return told(next_step(job, seen, now, TIMES))


def told(step):
    """A step in a few words."""
    match step:
        case Look():
            return "look" + (" with rooms" if step.rooms else "") + (" with log" if step.log else "")
        case Ask():
            return f"ask {step.name}" + (" to mend" if step.mends else "")
        case Confirm():
            return f"confirm {step.label}"
        case Recall():
            return f"recall {step.ask.name}"
        case Wait():
            return f"wait until {step.until:g}" + (f" or {step.wake_when}" if step.wake_when else "")
        case Inquire():
            return f"inquire about {step.about}"
        case Undo() | Fail():
            return f"{type(step).__name__.lower()}: {step.code}"
        case Done() | Stopped():
            return f"{type(step).__name__.lower()}: {step.detail}"


def table(*cases):
    """The cases as pytest wants them: each is a readable id, a job, what is seen, a moment and the step."""
    return {
        "argnames": ("job", "seen", "now", "step"),
        "argvalues": [case[1:] for case in cases],
        "ids": [case[0] for case in cases],
    }
