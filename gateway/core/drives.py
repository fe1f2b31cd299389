"""Add and resize drives: what is wanted, what is seen, so what is next."""

from typing import cast

from gateway.core import acting
from gateway.core.drive import GB_BYTES, HOT_PLUGGABLE, DriveLook
from gateway.core.job import Act, Job, Phase
from gateway.core.step import Ask, Confirm, Done, Fail, Look, Moment, Part, Seen, Step, Stopped, Wait
from gateway.core.times import EngineTimes
from gateway.core.wishes import AddDrive, ResizeDrive


def add_drive(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a new drive; never raises.

    The drive carries the job's id in its description, so that a lost answer is found by looking. On a running
    VM the row alone attaches nothing: that takes a hot-plug (VergeOS API notes 3.4, 4.5).
    """
    wish = cast("AddDrive", job.wish)
    act = job.act("create_drive")
    if act is None:
        first = _first_drive(job, wish, seen, now, times)
        if first is not None:
            return first
    elif act.answered_at is None:
        return _unanswered_drive(job, act, seen, now, times)
    part = Part("drive", None if act is None else act.made)
    refused = None if act is None else acting.refusal(act, seen)
    if seen is None or seen.vm is None or not seen.sought:
        return refused or Look(part=part)
    if refused is not None:
        return refused
    drive = cast("DriveLook | None", seen.part)
    if drive is None:
        return Fail("not_applied", "VergeOS took the new drive and does not show it", "Look at the VM's drives.")
    if job.cancel is not None:
        return Stopped(f"cancelled; drive {drive.key} had been created and stays", _drive_result(drive, False))
    if not seen.running or seen.vm.need_restart or not _can_plug(seen, drive):
        words = "is attached at the next start" if not seen.running else "is attached at the next power cycle"
        return Done(f"drive {drive.key} is created and {words}", _drive_result(drive, attached=False))
    return _plug(job, drive, part, seen, now, times)


def _first_drive(job: Job, wish: AddDrive, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Return the request for the drive; None where it is there, made by this job before Redis forgot it."""
    part = Part("drive") if acting.may_have_forgotten(job, now, times) else None
    if seen is None or seen.vm is None or (part is not None and not seen.sought):
        return Look(part=part)
    if seen.part is not None:
        return None
    params = {"name": wish.name, "description": wish.description, "size_bytes": wish.size_bytes}
    params |= {"interface": wish.interface, "tier": wish.tier}
    return Ask("create_drive", Phase.CHANGING, "creating the drive", params=params)


def _unanswered_drive(job: Job, act: Act, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    late = acting.unsettled(act, seen, now, times)
    if isinstance(late, Look) or (late is None and seen is not None and not seen.sought):
        return Look(part=Part("drive"))
    if late is not None:
        return late
    if seen is not None and seen.part is not None:
        return Confirm(act.label)
    if job.cancel is not None:
        return Stopped("cancelled; no drive was created")
    return Ask("create_drive", Phase.CHANGING, "creating the drive", params=act.params)


def _can_plug(seen: Seen, drive: DriveLook) -> bool:
    return seen.vm is not None and seen.vm.allow_hotplug and drive.interface in HOT_PLUGGABLE and drive.media == "disk"


def _plug(job: Job, drive: DriveLook, part: Part, seen: Seen, now: Moment, times: EngineTimes) -> Step:
    act = job.act("hotplug")
    if drive.status == "online":
        return Done(f"drive {drive.key} is created and attached", _drive_result(drive, attached=True))
    if act is None or (act.answered_at is None and acting.unsettled(act, seen, now, times) is None):
        params = {"device": str(drive.key)}
        return Ask("hotplugdrive", Phase.CHANGING, "attaching the drive", label="hotplug", params=params)
    if act.answered_at is None:
        return acting.unsettled(act, seen, now, times) or Look(part=part)
    left = (act.patient_at or act.answered_at) + times.stop_within - now.patient
    if act.refused is None and left > 0:
        return Wait(Phase.WAITING, "waiting until the drive is attached", now.at + min(left, times.watch_fast))
    why = act.refused or "it did not come online"
    words = f"drive {drive.key} is created but not attached ({why}); it is at the next power cycle"
    return Done(words, _drive_result(drive, attached=False))


def _drive_result(drive: DriveLook, attached: bool) -> dict[str, object]:
    size = None if drive.size_bytes is None else round(drive.size_bytes / GB_BYTES, 2)
    return {"drive_id": drive.key, "name": drive.name, "size_gb": size, "attached": attached, "changed": True}


def resize_drive(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a larger drive; VergeOS refuses smaller ones; never raises."""
    wish = cast("ResizeDrive", job.wish)
    part = Part("drive", wish.drive_key)
    act = job.act("resize_drive")
    if act is not None and act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        if late is not None and not isinstance(late, Look):
            return late
    if seen is None or seen.vm is None or not seen.sought:
        return Look(part=part)
    drive = cast("DriveLook | None", seen.part)
    if drive is None or drive.machine != job.target.machine_key:
        return Fail("target_gone", f"{job.target.name} has no drive {wish.drive_key}", "See get_vm_drives.")
    return _resized(job, act, drive, wish) or acting.refusal(cast("Act", act), seen) or _too_late(drive)


def _resized(job: Job, act: Act | None, drive: DriveLook, wish: ResizeDrive) -> Step | None:
    """Return the end where the size fits or cannot, or the request where it was not sent or surely lost."""
    old = drive.size_bytes or 0
    if old == wish.size_bytes:
        result = _drive_result(drive, attached=True) | {"changed": act is not None}
        return Done(f"drive {drive.key} has {old / GB_BYTES:g} GB; the guest extends its file system itself", result)
    if act is None and old > wish.size_bytes:
        sizes = f"{old / GB_BYTES:g} GB, not less than {wish.size_bytes / GB_BYTES:g} GB"
        return Fail("not_larger", f"drive {drive.key} has {sizes}; drives only grow", "Ask for a larger size.")
    if act is not None and act.answered_at is None and job.cancel is not None:
        return Stopped(f"cancelled; drive {drive.key} keeps its size")
    if act is None or act.answered_at is None:
        params = {"drive_key": wish.drive_key, "size_bytes": wish.size_bytes}
        return Ask("resize_drive", Phase.CHANGING, "enlarging the drive", params=params)
    return None


def _too_late(drive: DriveLook) -> Fail:
    return Fail(
        "not_applied", f"VergeOS took the new size of drive {drive.key} and did not do it", "Look at the drive."
    )
