"""Add and enlarge a drive: which step follows from which job, sight and moment."""

from dataclasses import replace

import pytest
from decider_cases import CANCEL, TIMES, answered, asked, at, decided, job_of, live, observed, refused, table

from gateway.core.decide import next_step
from gateway.core.drive import GB_BYTES, DriveLook
from gateway.core.step import Look, Part
from gateway.core.wishes import AddDrive, ResizeDrive

ADD = AddDrive(name="more", size_bytes=5 * GB_BYTES)
GROW = ResizeDrive(drive_key=7, size_bytes=8 * GB_BYTES)

CREATED = answered("create_drive", 1.0, made=7)
FOUND = answered("create_drive", 1.0)  # its answer was lost; its mark was found
CREATED_LOST = asked("create_drive", 1.0, params={"name": "more"})
PLUGGED = answered("hotplug", 2.0, "hotplugdrive")
PLUGGED_LOST = asked("hotplug", 2.0, "hotplugdrive")
GROWN, GROWN_LOST = answered("resize_drive", 1.0), asked("resize_drive", 1.0)


def drive(status="offline", *, gb=5, machine=91, interface="virtio-scsi", media="disk"):
    return DriveLook(
        key=7,
        name="more",
        machine=machine,
        size_bytes=gb * GB_BYTES,
        interface=interface,
        media=media,
        status=status,
        description="",
    )


def sought(status, part, seconds=2, **more):
    """A live look that also looked for the drive."""
    return replace(live(status, seconds, **more), sought=True, part=part)


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(ADD), None, at(0), "look"),
        ("an observation is not enough", job_of(ADD), observed("running"), at(1), "look"),
        ("runs", job_of(ADD), live("running"), at(1), "ask create_drive"),
        ("off", job_of(ADD, ran=False), live("stopped"), at(1), "ask create_drive"),
        ("may have forgotten", job_of(ADD), live("running", 6), at(6), "look"),
        ("had not begun", job_of(ADD), sought("running", None, 6), at(6), "ask create_drive"),
        ("had made it", job_of(ADD), sought("running", drive(), 6), at(6), "ask hotplug"),
        ("no answer yet", job_of(ADD, CREATED_LOST), live("running", 2), at(2), "wait until 7"),
        ("no answer, no late look", job_of(ADD, CREATED_LOST), observed("running", 8), at(8), "look"),
        ("no answer, not looked for", job_of(ADD, CREATED_LOST), live("running", 8), at(8), "look"),
        ("no answer, looked too early", job_of(ADD, CREATED_LOST), sought("running", None, 6), at(8), "look"),
        ("no answer, not there", job_of(ADD, CREATED_LOST), sought("running", None, 8), at(8), "ask create_drive"),
        ("no answer, there", job_of(ADD, CREATED_LOST), sought("running", drive(), 8), at(8), "confirm create_drive"),
        (
            "no answer, not there, cancelled",
            job_of(ADD, CREATED_LOST, cancel=CANCEL),
            sought("running", None, 8),
            at(8),
            "stopped: cancelled; no drive was created",
        ),
        (
            "no answer, there, cancelled",
            job_of(ADD, CREATED_LOST, cancel=CANCEL),
            sought("running", drive(), 8),
            at(8),
            "confirm create_drive",
        ),
        ("refused, nothing seen", job_of(ADD, refused("create_drive", 1.0)), None, at(2), "look"),
        ("refused", job_of(ADD, refused("create_drive", 1.0)), live("running", 2), at(2), "fail: refused"),
        ("taken, nothing seen", job_of(ADD, CREATED), None, at(2), "look"),
        ("taken, an observation is not enough", job_of(ADD, CREATED), observed("running", 2), at(2), "look"),
        ("taken, not looked for", job_of(ADD, CREATED), live("running", 2), at(2), "look"),
        ("taken, not shown", job_of(ADD, CREATED), sought("running", None), at(2), "fail: not_applied"),
        ("taken, runs", job_of(ADD, CREATED), sought("running", drive()), at(2), "ask hotplug"),
        ("found by its mark, runs", job_of(ADD, FOUND), sought("running", drive()), at(8), "ask hotplug"),
        (
            "taken, off",
            job_of(ADD, CREATED, ran=False),
            sought("stopped", drive()),
            at(2),
            "done: drive 7 is created and is attached at the next start",
        ),
        *(
            (
                f"taken, runs, {why}",
                job_of(ADD, CREATED),
                seen,
                at(2),
                "done: drive 7 is created and is attached at the next power cycle",
            )
            for why, seen in {
                "no hot-plug allowed": sought("running", drive(), allow_hotplug=False),
                "not for hot-plug": sought("running", drive(interface="ide")),
                "no disk": sought("running", drive(media="clone")),
                "waits for a restart": sought("running", drive(), need_restart=True),
            }.items()
        ),
        (
            "taken, cancelled",
            job_of(ADD, CREATED, cancel=CANCEL),
            sought("running", drive()),
            at(2),
            "stopped: cancelled; drive 7 had been created and stays",
        ),
        (
            "attached by another hand",
            job_of(ADD, CREATED),
            sought("running", drive("online")),
            at(2),
            "done: drive 7 is created and attached",
        ),
        (
            "plug without an answer",
            job_of(ADD, CREATED, PLUGGED_LOST),
            sought("running", drive(), 3),
            at(3),
            "wait until 8",
        ),
        (
            "plug without an answer, looked too early",
            job_of(ADD, CREATED, PLUGGED_LOST),
            sought("running", drive(), 7),
            at(9),
            "look",
        ),
        (
            "plug without an answer, not done",
            job_of(ADD, CREATED, PLUGGED_LOST),
            sought("running", drive(), 9),
            at(9),
            "ask hotplug",
        ),
        (
            "plug without an answer, done",
            job_of(ADD, CREATED, PLUGGED_LOST),
            sought("running", drive("online"), 9),
            at(9),
            "done: drive 7 is created and attached",
        ),
        (
            "plug without an answer, cancelled",
            job_of(ADD, CREATED, PLUGGED_LOST, cancel=CANCEL),
            sought("running", drive(), 3),
            at(3),
            "wait until 8",
        ),
        ("plug taken", job_of(ADD, CREATED, PLUGGED), sought("running", drive(), 3), at(3), "wait until 5"),
        ("plug taken, nothing seen", job_of(ADD, CREATED, PLUGGED), observed("running", 3), at(3), "look"),
        (
            "plugged",
            job_of(ADD, CREATED, PLUGGED),
            sought("running", drive("online"), 3),
            at(3),
            "done: drive 7 is created and attached",
        ),
        (
            "plug refused",
            job_of(ADD, CREATED, refused("hotplug", 2.0)),
            sought("running", drive(), 3),
            at(3),
            "done: drive 7 is created but not attached (not now); it is at the next power cycle",
        ),
        (
            "plug had no effect",
            job_of(ADD, CREATED, PLUGGED),
            sought("running", drive(), 32),
            at(32),
            "done: drive 7 is created but not attached (it did not come online); it is at the next power cycle",
        ),
        (
            "time in which nothing could be seen does not count",
            job_of(ADD, CREATED, PLUGGED),
            sought("running", drive(), 32),
            at(32, blind=20),
            "wait until 34",
        ),
        ("after a gap", job_of(ADD, CREATED), sought("running", drive(), 700), at(700), "inquire about gap"),
    )
)
def test_add_drive(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(GROW), None, at(0), "look"),
        ("an observation is not enough", job_of(GROW), observed("running"), at(1), "look"),
        ("not looked for", job_of(GROW), live("running"), at(1), "look"),
        ("smaller", job_of(GROW), sought("running", drive()), at(1), "ask resize_drive"),
        ("smaller, off", job_of(GROW, ran=False), sought("stopped", drive()), at(1), "ask resize_drive"),
        (
            "has this size",
            job_of(GROW),
            sought("running", drive(gb=8)),
            at(1),
            "done: drive 7 has 8 GB; the guest extends its file system itself",
        ),
        ("larger already", job_of(GROW), sought("running", drive(gb=9)), at(1), "fail: not_larger"),
        ("gone", job_of(GROW), sought("running", None), at(1), "fail: target_gone"),
        ("another VM's", job_of(GROW), sought("running", drive(machine=92)), at(1), "fail: target_gone"),
        ("no answer yet", job_of(GROW, GROWN_LOST), sought("running", drive()), at(2), "wait until 7"),
        ("no answer, no late look", job_of(GROW, GROWN_LOST), observed("running", 8), at(8), "look"),
        ("no answer, not done", job_of(GROW, GROWN_LOST), sought("running", drive(), 8), at(8), "ask resize_drive"),
        (
            "no answer, done",
            job_of(GROW, GROWN_LOST),
            sought("running", drive(gb=8), 8),
            at(8),
            "done: drive 7 has 8 GB; the guest extends its file system itself",
        ),
        (
            "no answer, not done, cancelled",
            job_of(GROW, GROWN_LOST, cancel=CANCEL),
            sought("running", drive(), 8),
            at(8),
            "stopped: cancelled; drive 7 keeps its size",
        ),
        ("taken, nothing seen", job_of(GROW, GROWN), None, at(2), "look"),
        ("taken, not done", job_of(GROW, GROWN), sought("running", drive()), at(2), "fail: not_applied"),
        (
            "taken, done",
            job_of(GROW, GROWN),
            sought("running", drive(gb=8)),
            at(2),
            "done: drive 7 has 8 GB; the guest extends its file system itself",
        ),
        (
            "refused",
            job_of(GROW, refused("resize_drive", 1.0)),
            sought("running", drive()),
            at(2),
            "fail: refused",
        ),
        ("the VM is gone", job_of(GROW), replace(observed("gone"), gone=True), at(1), "fail: target_gone"),
    )
)
def test_resize_drive(job, seen, now, step):
    assert decided(job, seen, now) == step


def test_a_new_drive_is_looked_for_by_its_key_or_else_by_the_jobs_mark():
    by_mark = next_step(job_of(ADD, CREATED_LOST), live("running", 8), at(8), TIMES)
    by_key = next_step(job_of(ADD, CREATED), live("running", 2), at(2), TIMES)
    assert (by_mark, by_key) == (Look(part=Part("drive")), Look(part=Part("drive", 7)))


def test_results_tell_the_drive_its_size_and_whether_anything_changed():
    added = next_step(job_of(ADD, CREATED, PLUGGED), sought("running", drive("online"), 3), at(3), TIMES)
    assert added.result == {"drive_id": 7, "name": "more", "size_gb": 5.0, "attached": True, "changed": True}
    same = next_step(job_of(GROW), sought("running", drive(gb=8)), at(1), TIMES)
    grown = next_step(job_of(GROW, GROWN), sought("running", drive(gb=8)), at(2), TIMES)
    assert (same.result["changed"], grown.result["changed"], grown.result["size_gb"]) == (False, True, 8.0)
