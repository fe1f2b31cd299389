"""Whether a run was right: pure rules over the evidence, each of which names every job that broke it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import cast

from gateway.core.job import Job, JobState
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.wishes import Resize, RestoreSnapshot
from tests.chaos.evidence import LEADS_TO, Accepted, Action, Evidence

JUST_SECONDS = 5.0  # an end may tell of what was seen this long ago
ANSWER_SECONDS = 4.0  # an MCP call may wait this long before it names its job
CREATES = {"create_snapshot": "create_snapshot", "add_drive": "create_drive"}  # kind -> label of the act
STOPPING = {"poweroff", "stop"}  # labels of what asks a guest, before a kill
AT_MOST_ONCE = {"reset", "restore_snapshot", "network_action", "tenant_action"}  # may end without knowing


@dataclass(frozen=True)
class Violation:
    """A rule that was broken, by which job, and the story."""

    rule: str
    job: str
    story: str


Rule = Callable[[Evidence], Iterator[Violation]]


def judge(evidence: Evidence) -> tuple[list[Violation], list[Violation]]:
    """Return every violation, rule by rule; and apart those that an old copy of Redis explains.

    What a job forgot of itself then may leave its VM as nobody asked; but nothing may be done twice or to another.
    """
    found = [violation for rule in RULES for violation in rule(evidence)]
    explained = [violation for violation in found if _explained(evidence, violation)]
    return [violation for violation in found if violation not in explained], explained


def _explained(evidence: Evidence, violation: Violation) -> bool:
    job = evidence.records.get(violation.job)
    return violation.rule in FORGOTTEN and job is not None and evidence.touched(job)


def story(evidence: Evidence, job: Job) -> str:
    """Return one line on what a job was, what its record says and what VergeOS saw of it."""
    end = f"{job.state}{'' if job.trouble is None else f' ({job.trouble.code})'}"
    acts = ", ".join(
        f"{act.label}@{act.intended_at - job.created_at:.2f}"
        f"{'?' if act.answered_at is None else '' if act.refused is None else ' refused'}"
        for act in job.acts
    )
    seen = ", ".join(
        f"{action.label}@{action.at - job.created_at:.2f}{'' if action.ok else ' refused'}"
        for action in evidence.of(job.id)
    )
    return f"{job.tool} {job.target.ref} {job.target.name!r}: {end}, {job.detail!r}; acts [{acts}]; VergeOS [{seen}]"


def lost(evidence: Evidence) -> Iterator[Violation]:
    """Every accepted job has a record that ended, unless an old copy of Redis took the record back."""
    for job_id, accepted in _first(evidence.accepted).items():
        job = evidence.records.get(job_id)
        if job is None:
            if not _took(evidence, accepted):
                yield Violation("lost", job_id, f"{accepted.call} was answered with it and there is no record")
        elif not job.state.final:
            yield Violation("unfinished", job_id, story(evidence, job))
        elif evidence.told.get(job_id, job.state) != job.state:
            yield Violation("lost", job_id, f"REST tells {evidence.told[job_id]}, the record {job.state}")


def taken_back(evidence: Evidence) -> list[str]:
    """Return the accepted jobs whose records an old copy of Redis took back."""
    first = _first(evidence.accepted)
    return [job for job, seen in first.items() if job not in evidence.records and _took(evidence, seen)]


def _took(evidence: Evidence, accepted: Accepted) -> bool:
    """Tell whether an old copy of Redis took a job back; its answer may come a while after its record was written."""
    return evidence.lost(accepted.at - ANSWER_SECONDS, accepted.at)


def doubled(evidence: Evidence) -> Iterator[Violation]:
    """No act of a job is carried out twice; where Redis went back meanwhile, it has its effect once at most."""
    counted: Counter[tuple[str, str]] = Counter()
    for action in evidence.actions:
        if action.job is None or not action.ok:
            continue
        job = evidence.records.get(action.job)
        if job is None or evidence.touched(job):
            counted[action.job, action.label] += action.effect_at is not None and not evidence.mended(action)
        else:
            counted[action.job, action.label] += 1
    for (job_id, label), times in counted.items():
        if times > 1:
            job = evidence.records.get(job_id)
            words = "its record was taken back" if job is None else story(evidence, job)
            yield Violation("doubled", job_id, f"'{label}' {times} times: {words}")


def unrecorded(evidence: Evidence) -> Iterator[Violation]:
    """What VergeOS carried out for a job stands in the job's record as an act."""
    for action in evidence.actions:
        if action.job is None or not action.ok:
            continue
        job = evidence.records.get(action.job)
        if job is None:
            if not evidence.lost(action.at - evidence.step_seconds, action.at):
                yield Violation("unrecorded", action.job, f"'{action.action}' of {action.name!r} for a job unknown")
        elif job.act(action.label) is None and not evidence.touched(job):
            yield Violation("unrecorded", job.id, f"'{action.label}' is no act of {story(evidence, job)}")


def keys(evidence: Evidence) -> Iterator[Violation]:
    """A key stands for one job and refuses another call, unless Redis lost it."""
    by_key: defaultdict[str, list[Accepted]] = defaultdict(list)
    for accepted in evidence.accepted:
        if accepted.key is not None:
            by_key[accepted.key].append(accepted)
    for key, accepted in by_key.items():
        first, last = min(seen.at for seen in accepted), max(seen.at for seen in accepted)
        if any(first <= gap.back_at and last >= gap.copied_at for gap in evidence.gone_back):
            continue
        jobs = {seen.job for seen in accepted if not seen.misused}
        if len(jobs) > 1:
            yield Violation("two jobs for one key", min(jobs), f"{key} made {', '.join(sorted(jobs))}")
        for seen in accepted:
            if seen.misused:
                yield Violation("key misused", seen.job, f"{key} was taken with other arguments")


def targets(evidence: Evidence) -> Iterator[Violation]:
    """Acts meet the object that was meant: the same key, and the name and machine that it had at the call."""
    for action in evidence.actions:
        job = evidence.records.get(action.job or "")
        if job is None or not action.ok:
            continue
        if not _aimed(job, action):
            yield Violation("wrong target", job.id, f"{action.table} {action.key}: {story(evidence, job)}")
        elif _renamed(evidence, job, action):
            yield Violation("wrong target", job.id, f"it was {action.name!r} by then: {story(evidence, job)}")
        elif any(
            ref == job.target.ref and job.created_at < at < action.at - evidence.step_seconds
            for ref, at in evidence.replaced
        ):
            yield Violation("wrong target", job.id, f"the VM had been replaced: {story(evidence, job)}")


MENDING = {"put_back", "start", "start_again"}


def _aimed(job: Job, action: Action) -> bool:
    if action.label == "restore":
        return True  # it goes to the snapshot's own row
    if action.table == "machine_drives" and action.action == "create":
        return action.params.get("machine") == job.target.machine_key
    if action.table == "machine_snapshots" and action.action == "create":
        return action.params.get("machine") == job.target.machine_key
    if action.table in {"machine_drives", "machine_snapshots"}:
        return action.key in {getattr(job.wish, "drive_key", None), getattr(job.wish, "snapshot_key", None)}
    return action.key == job.target.key


def _renamed(evidence: Evidence, job: Job, action: Action) -> bool:
    """Tell whether the VM went by another name for longer than lies between a look and an act.

    What only brings the VM back goes by key and uuid, whatever its name: nothing is left off.
    """
    if action.table not in {"vm_actions", "vms"} or action.label in {"restore", *MENDING}:
        return False
    if clean(action.name, NAME_LIMIT) == job.target.name:
        return False
    changes = (other.at for other in evidence.actions if other.table == "vms" and other.key == action.key)
    return not any(abs(action.at - at) <= evidence.step_seconds for at in changes)  # it lands a while after `at`


def ends(evidence: Evidence) -> Iterator[Violation]:
    """A completed job tells the truth: its object was on or off as it says, what it created is there once."""
    for job in evidence.records.values():
        if job.state is not JobState.COMPLETED or job.ended_at is None:
            continue
        wanted = _wanted(job)
        if wanted is not None and not evidence.was(
            job.target.ref, wanted, job.ended_at - JUST_SECONDS, job.ended_at + 0.2
        ):
            yield Violation("wrong end", job.id, f"it was not {'on' if wanted else 'off'}: {story(evidence, job)}")
        label = CREATES.get(job.wish.kind, "reset" if job.wish.kind == "reset" else None)
        if label is not None and not any(action.ok and action.label == label for action in evidence.of(job.id)):
            yield Violation("wrong end", job.id, f"nothing was done: {story(evidence, job)}")
        if isinstance(job.wish, Resize) and not _resized(evidence, job, cast("Resize", job.wish).wanted()):
            yield Violation("wrong end", job.id, f"another size was stored last: {story(evidence, job)}")


def _wanted(job: Job) -> bool | None:
    if job.wish.kind in {"network_action", "tenant_action"}:
        return LEADS_TO.get(job.wish.action)
    return {"on": True, "off": False}.get(job.wish.leads_to or "")


def _resized(evidence: Evidence, job: Job, wanted: dict[str, int]) -> bool:
    stored = [action for action in evidence.of(job.id) if action.ok and action.table == "vms"]
    if not stored or (job.result or {}).get("changed") is False:
        return True
    names = {"cpu_cores": "cpu_cores", "ram_mb": "ram"}
    return all(stored[-1].params.get(names[name]) == value for name, value in wanted.items())


def left_off(evidence: Evidence) -> Iterator[Violation]:
    """Whoever stops a VM on the way starts it again, however the job ends; people may stop it meanwhile."""
    for job in evidence.records.values():
        gone = job.trouble is not None and job.trouble.code == "target_gone"
        if job.ended_at is None or gone or not _must_run(job):
            continue
        power = reversed(evidence.power(job.target.ref))
        _, runs, user = next((landed for landed in power if landed[0] <= job.ended_at), (0.0, True, ""))
        if not runs and user.startswith(f"{job.id}/"):
            yield Violation("left off", job.id, story(evidence, job))


def _must_run(job: Job) -> bool:
    if job.before is None or not job.before.running or not job.acts:
        return False
    return isinstance(job.wish, RestoreSnapshot) or (isinstance(job.wish, Resize) and job.wish.restart)


def nobody_asked(evidence: Evidence) -> Iterator[Violation]:
    """At the end each object is as the last that switched it wanted to leave it, and as VergeOS' actions say."""
    for ref, runs in evidence.runs.items():
        power = evidence.power(ref)
        if not power:
            continue
        _, expected, user = power[-1]
        job = evidence.records.get(user.partition("/")[0])
        if runs is not expected:
            yield Violation("nobody asked", user, f"{ref} {'runs' if runs else 'is off'} and nothing made it so")
        elif job is not None and not runs and _must_run(job):
            yield Violation("nobody asked", job.id, f"{ref} was left off by {story(evidence, job)}")


def forced(evidence: Evidence) -> Iterator[Violation]:
    """The power is cut after an answered power-off and its grace, and only where somebody said so."""
    for job in evidence.records.values():
        wish = job.wish
        if wish.kind not in {"power_off", "resize", "restore_snapshot"}:
            continue
        done = [action for action in evidence.of(job.id) if action.ok]
        for kill in (action for action in done if action.action == "kill"):
            asked = [action.at for action in done if action.action == "poweroff" and action.at < kill.at]
            if not asked:
                yield Violation("forced", job.id, f"killed without a power-off: {story(evidence, job)}")
            elif kill.at - min(asked) < wish.wait_seconds:
                yield Violation("forced", job.id, f"killed within the grace: {story(evidence, job)}")
            said = job.question is not None and job.question.about == "force" and job.question.yes
            if not wish.force and not said:
                yield Violation("forced", job.id, f"nobody said so: {story(evidence, job)}")


def order(evidence: Evidence) -> Iterator[Violation]:
    """Of two jobs on one object the second begins when the first has ended, unless it takes over."""
    by_target: defaultdict[str, list[Job]] = defaultdict(list)
    for job in evidence.records.values():
        if job.begun_at is not None:
            by_target[job.target.ref].append(job)
    for jobs in by_target.values():
        jobs.sort(key=lambda job: job.begun_at or 0.0)
        for first, second in combinations(jobs, 2):
            if first.ended_at is not None and first.ended_at <= (second.begun_at or 0.0):
                continue
            if first.id in {second.overtakes, first.overtakes and second.id}:
                continue
            if not (evidence.touched(first) or evidence.touched(second)):
                words = f"{story(evidence, second)} BEGAN WITHIN {story(evidence, first)}"
                yield Violation("order", second.id, words)


def unknown(evidence: Evidence) -> Iterator[Violation]:
    """Only what cannot be confirmed by looking ends with an unknown outcome, and only without an answer."""
    for job in evidence.records.values():
        if job.trouble is None or job.trouble.code != "outcome_unknown" or not job.state.final:
            continue
        if job.wish.kind not in AT_MOST_ONCE or job.open_act is None:
            yield Violation("outcome unknown", job.id, story(evidence, job))


def events(evidence: Evidence) -> Iterator[Violation]:
    """A job's events count up without a gap, and the last one, and no other, tells the end that the record tells."""
    for job_id, job in evidence.records.items():
        told = evidence.events.get(job_id, ())
        if [event.seq for event in told] != list(range(1, len(told) + 1)):
            yield Violation("events", job_id, f"numbered {[event.seq for event in told]}")
        elif not told or told[-1].state != job.state or any(event.state.final for event in told[:-1]):
            yield Violation("events", job_id, f"{[event.state.value for event in told]} of a job {job.state}")


def untold(evidence: Evidence) -> Iterator[Violation]:
    """Each write that reached VergeOS was told to the audit before, once for each; what it tells as done was done."""
    for fault in evidence.audit_faults:
        yield Violation("untold", "", fault)
    sent = Counter((action.job, action.label) for action in evidence.actions if action.job is not None)
    for (job_id, label), times in sent.items() if evidence.audited is not None else ():
        told = evidence.audited.get((job_id, label), 0)
        if told < times:
            yield Violation("untold", job_id, f"'{label}' reached VergeOS {times} times, and the audit tells of {told}")
    done = Counter((action.job, action.label) for action in evidence.actions if action.ok)
    for (job_id, label), times in evidence.answered.items():
        if done[job_id, label] < times:
            yield Violation("untold", job_id, f"'{label}' was told as done {times} times, and VergeOS did not")


BREACHES = (
    *("lost", "unfinished", "doubled", "unrecorded", "two jobs for one key", "key misused", "wrong target"),
    *("wrong end", "left off", "nobody asked", "forced", "order", "outcome unknown", "events", "untold"),
)
FORGOTTEN = {"wrong end", "left off", "nobody asked", "forced"}  # what a job whose story is lost in part may do
RULES: tuple[Rule, ...] = (
    lost,
    doubled,
    unrecorded,
    keys,
    targets,
    ends,
    left_off,
    nobody_asked,
    forced,
    order,
    unknown,
    events,
    untold,
)


def _first(accepted: tuple[Accepted, ...]) -> dict[str, Accepted]:
    """Return of each job the first answer that named it."""
    first: dict[str, Accepted] = {}
    for seen in sorted(accepted, key=lambda seen: seen.at):
        first.setdefault(seen.job, seen)
    return first
