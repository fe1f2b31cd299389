"""Random VMs, answers, crashes and people, thousands of runs: what must hold whatever happens."""

import random
from dataclasses import dataclass

import pytest
from model_shell import Died, Shell
from model_vm import TIMES, Character, World

from gateway.core.job import Job, JobState, Target
from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize

MOST_STEPS = 1_500
RUNS = {"power_on": 400, "power_off": 1_000, "force_off": 300, "reset": 400, "resize": 1_900}
DEAD_SECONDS = (0.1, 3.0, 30.0, 1_200.0)
DRAIN_SECONDS = 2_000.0


@dataclass
class Run:
    """One job from its submit until nothing of it is left in the air."""

    job: Job
    shell: Shell
    world: World
    ended_at: float
    running: bool
    sizes: tuple[int, int]


def some_wish(rng, kind):
    wait, force = rng.choice((0, 5, 60, 300, 900)), rng.choice((None, True, False))
    if kind == "power_on":
        return PowerOn()
    if kind == "power_off":
        return PowerOff(wait_seconds=wait, force=force)
    if kind == "force_off":
        return ForceOff()
    if kind == "reset":
        return Reset(hard=rng.random() < 0.5)
    cores, ram = rng.choice(((4, None), (None, 4096), (4, 4096), (1, None), (2, 2048)))
    stop, again = rng.random() < 0.85, rng.random() < 0.85
    return Resize(cpu_cores=cores, ram_mb=ram, may_stop=stop, wait_seconds=wait, force=force, restart=again)


def some_character(rng, wait):
    often = rng.choice((0.0, 0.0, 0.1, 0.5))
    return Character(
        acpi=rng.choice(("obeys", "obeys", "obeys", "ignores", "hangs")),
        guest_seconds=rng.choice((0.5, 5.0, 40.0, 250.0, min(wait, 250.0) + 2.0)) * rng.uniform(0.9, 1.1),
        start_seconds=rng.choice((0.1, 0.5, 10.0, 100.0, 180.0)),
        failing_start=rng.choice(("never", "never", "never", "always", "sometimes", "bigger")),
        refuses_start=rng.choice((0.0, 0.0, 0.0, 0.3)),
        refuses_size=rng.choice(("never", "never", "running", "always")),
        ignores_size=rng.random() < 0.05,
        kill_works=rng.random() < 0.95,
        refuses=rng.choice((0.0, 0.0, 0.1)),
        loses=often,
        unreachable=often * rng.random(),
    )


def some_time(rng):
    return rng.choice((0.5, 10.0, 60.0, 400.0, 1_500.0)) * rng.random()


def some_world(rng, kind, wish):
    start = rng.choice((0.0, 1_700_000_000.0))
    running = rng.random() < (0.3 if kind == "power_on" else 0.9)
    world = World(rng, start=start, running=running, character=some_character(rng, getattr(wish, "wait_seconds", 5)))
    if rng.random() < 0.1:
        world.meddle("poweroff" if running else "poweron")
        world.clock.pass_until(start + 1.2 * rng.random())
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 2))):
            begin = start + some_time(rng)
            world.blind.append((begin, begin + rng.choice((5.0, 60.0, 700.0, 1_000.0)) * rng.random()))
    if rng.random() < 0.25:
        for _ in range(rng.choice((1, 3))):
            action = rng.choice(("poweron", "poweroff", "kill", "reset"))
            world.clock.after(some_time(rng), lambda action=action: world.meddle(action))
    return world


def some_shell(rng, world, wish):
    job = Job(
        id="j1",
        site="simulated",
        tool="some_tool",
        arguments={},
        wish=wish,
        target=Target(key=34, machine_key=91, name="web-1", uuid="u-34"),
        owner="ann",
        face="mcp",
        may_ask=rng.random() < 0.7,
        created_at=world.now,
        progress_at=world.now,
        updated_at=world.now,
    )
    shell = Shell(world, job, death=rng.choice((0.0, 0.0, 0.02, 0.1)), tick=rng.choice((2.0, 2.0, 5.0, 15.0, None)))
    if rng.random() < 0.25:
        world.clock.after(some_time(rng), shell.withdraw)
    if shell.tick is not None:
        for begin, _ in world.blind:
            world.clock.after(begin + shell.tick * rng.random() - world.now, shell.look_around)
    return shell


def run(kind, seed):
    """Drive one random job until it is final and everything it began has come to rest."""
    rng = random.Random(seed)
    wish = some_wish(rng, kind)
    world = some_world(rng, kind, wish)
    shell = some_shell(rng, world, wish)
    for _ in range(MOST_STEPS):
        try:
            due = shell.advance()
        except Died:
            shell.rise()
            if kind == "reset" and rng.random() < 0.5:
                shell.forget()
                world.clock.pass_until(world.now + TIMES.settle)
            world.clock.pass_until(world.now + rng.choice(DEAD_SECONDS) * rng.random())
            continue
        if due is None:
            break
        shell.sleep(due)
    else:
        raise AssertionError("the job does not end")
    ended_at = world.now
    world.meddle = lambda action: None
    world.clock.pass_until(ended_at + DRAIN_SECONDS)
    vm = world.vm
    return Run(shell.saved, shell, world, ended_at, vm.running, (vm.cpu_cores, vm.ram_mb))


# what must hold


def reached(it, *actions):
    """The requests that may have reached VergeOS."""
    return [sent for sent in it.world.sent if sent.outcome != "unreachable" and sent.action in actions]


def off(seen):
    """What a person would call off: it does not run, and nobody is starting it."""
    return not seen.running and seen.status not in {"initializing", "starting"}


def every_kill_follows_an_answered_poweroff(it):
    for _, job, ask, _ in it.shell.sends:
        if ask.action == "kill" and job.wish.kind != "force_off":
            asked = job.act("stop" if job.wish.kind == "resize" else "poweroff")
            assert asked is not None, "killed without asking"
            assert asked.answered_at is not None, "killed on an unanswered request"
            assert asked.refused is None, "killed after a refused request"


def every_kill_is_permitted_and_due(it):
    for now, job, ask, _ in it.shell.sends:
        if ask.action != "kill" or job.wish.kind == "force_off":
            continue
        said_yes = job.question is not None and job.question.about == "force" and job.question.yes
        assert job.wish.wait_seconds > 0, "killed without a grace"
        assert job.wish.force or (job.wish.force is None and said_yes), "killed without leave"
        asked = job.act("stop" if job.wish.kind == "resize" else "poweroff")
        assert now.patient - asked.patient_at >= job.wish.wait_seconds - 0.001, "killed within the grace"


def every_act_is_decided_on_a_fresh_live_look(it):
    for now, _, ask, seen in it.shell.sends:
        assert seen is not None, "acted blindly"
        assert seen.vm is not None, "acted on an old observation"
        assert now.at - seen.at <= TIMES.request, "acted on an old look"
        assert not it.world.unseen(seen.at)
        if ask.action in {"kill", "poweroff"}:
            assert not off(seen), f"{ask.action} of a VM that is off"


def no_start_is_asked_while_the_vm_is_between_off_and_on(it):
    for now, job, ask, seen in it.shell.sends:
        if ask.action == "poweron":
            since = max((act.intended_at for act in job.acts), default=job.created_at)
            assert seen.status == "stopped" or now.at - since >= TIMES.start_within


def no_act_is_sent_again_after_its_answer(it):
    for _, job, ask, _ in it.shell.sends:
        known = job.act(ask.name)
        assert known is None or known.answered_at is None, f"{ask.name} sent again after its answer"


def a_poweroff_is_repeated_only_if_it_left_no_trace(it):
    asks = [now.at for now, _, ask, _ in it.shell.sends if ask.action == "poweroff"]
    ours = [at for at, action in it.world.landings if action == "poweroff"]
    assert all(landed >= asks[-1] for landed in ours), "asked twice to shut down"


def a_reset_is_sent_at_most_once(it):
    landed = [at for at, action in it.world.landings if action == "reset"]
    assert len(landed if it.shell.forgot else reached(it, "reset")) <= 1


def nothing_is_sent_after_a_cancel_but_what_mends(it):
    for _, job, ask, _ in it.shell.sends:
        assert ask.mends or job.cancel is None, f"{ask.name} after a cancel"


def nothing_lands_after_the_end(it):
    late = [action for at, action in it.world.landings if at > it.ended_at]
    assert not late, f"{late} took effect after the job had ended"


def nothing_is_sent_after_a_gap_without_leave(it):
    for now, job, ask, _ in it.shell.sends:
        stood_still = now.at - job.progress_at
        assert ask.mends or job.begun_at is None or stood_still <= TIMES.gap_asks_after, f"{ask.name} after a gap"


def nothing_of_a_resize_fells_what_it_started(it):
    actions = [action for _, action in it.world.landings]
    if it.job.wish.kind == "resize" and "poweron" in actions:
        after = actions[actions.index("poweron") :]
        assert "kill" not in after, "killed what it had started"
        assert "poweroff" not in after, "shut down what it had started"


def an_expired_job_sent_nothing(it):
    if it.job.trouble is not None and it.job.trouble.code == "expired" and not it.shell.forgot:
        assert not reached(it, "poweron", "poweroff", "kill", "reset", "set_size")


def a_completed_job_has_what_it_wished(it):
    if it.job.state is not JobState.COMPLETED:
        return
    seen, wish = it.shell.last_seen, it.job.wish
    if wish.kind in {"power_off", "force_off"}:
        assert off(seen), "completed without having been seen off"
    elif wish.kind != "resize":
        assert seen.running
        assert it.job.result["changed"] or seen.status == "running"
        if it.job.result.get("confirmed"):
            act = it.job.act("reset")
            since = it.job.created_at if act.started_before is None else act.intended_at  # None: it was recalled
            assert seen.started_at >= since, "took an earlier start for its own"
    elif wish.may_stop and it.job.before.running and wish.restart and not it.world.stopped_by_others:
        assert it.world.vm.in_force == it.sizes, "the new size does not count yet"
    if wish.kind == "resize":
        assert all(getattr(it.world.vm, name) == value for name, value in wish.wanted().items())


def nothing_is_left_off_by_a_resize(it):
    job = it.job
    if job.wish.kind != "resize" or job.before is None or not job.before.running or it.world.stopped_by_others:
        return
    wanted_off = job.state is JobState.COMPLETED and not job.wish.restart
    said = job.trouble is not None and job.trouble.code == "left_off"
    assert it.running or wanted_off or said, "left off"


def a_resize_given_up_tells_the_size_it_leaves(it):
    job = it.job
    if job.wish.kind != "resize" or job.state is JobState.COMPLETED or job.begun_at is None:
        return
    if job.trouble is not None and job.trouble.code == "left_off":
        return
    assert (job.result["cpu_cores"], job.result["ram_mb"]) == it.sizes, "tells another size than it leaves"
    old = (job.before.cpu_cores, job.before.ram_mb) == it.sizes
    assert ("has its old size" in job.detail) == old
    is_ = it.world.is_
    assert old or is_.refuses or is_.refuses_size != "never" or is_.ignores_size, "did not put the old size back"


def a_vm_that_was_off_is_not_started(it):
    if it.job.wish.kind != "power_on" and it.job.before is not None and not it.job.before.running:
        assert not reached(it, "poweron")


RULES = (
    every_kill_follows_an_answered_poweroff,
    every_kill_is_permitted_and_due,
    every_act_is_decided_on_a_fresh_live_look,
    no_start_is_asked_while_the_vm_is_between_off_and_on,
    no_act_is_sent_again_after_its_answer,
    a_poweroff_is_repeated_only_if_it_left_no_trace,
    a_reset_is_sent_at_most_once,
    nothing_is_sent_after_a_cancel_but_what_mends,
    nothing_lands_after_the_end,
    nothing_is_sent_after_a_gap_without_leave,
    nothing_of_a_resize_fells_what_it_started,
    an_expired_job_sent_nothing,
    a_completed_job_has_what_it_wished,
    nothing_is_left_off_by_a_resize,
    a_resize_given_up_tells_the_size_it_leaves,
    a_vm_that_was_off_is_not_started,
)


@pytest.mark.parametrize("kind", RUNS)
def test_every_rule_holds_in_every_run(kind):
    for number in range(RUNS[kind]):
        seed = f"{kind}-{number}"
        try:
            it = run(kind, seed)
            for rule in RULES:
                rule(it)
        except Exception as failure:
            raise AssertionError(f"run({kind!r}, {seed!r}): {failure}") from failure
