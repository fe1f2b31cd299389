"""What may not be touched, and when: globs, tags, our own VMs, maintenance windows."""

from datetime import UTC, datetime

import pytest

from gateway.core.errors import OutsideWindow, Protected
from gateway.core.guard import Guards, Selector, moment, own_names, window
from gateway.core.job import Target
from gateway.core.wishes import (
    AddDrive,
    CreateSnapshot,
    DeleteSnapshot,
    ForceOff,
    NetworkAction,
    PowerOff,
    PowerOn,
    Reset,
    Resize,
    ResizeDrive,
    RestoreSnapshot,
    TenantAction,
)

UUID = "8f14e45f-ceea-467f-a0e6-1234567890ab"
VM = Target(key=34, machine_key=41, name="db-1", uuid=UUID)
NETWORK = Target(kind="network", key=4, machine_key=9, name="db-net", uuid="")
DISTURBING = [
    PowerOff(),
    ForceOff(),
    Reset(),
    Resize(cpu_cores=2),
    DeleteSnapshot(snapshot_key=1),
    RestoreSnapshot(snapshot_key=1),
    AddDrive(name="d", size_bytes=1),
    ResizeDrive(drive_key=1, size_bytes=1),
    NetworkAction(action="poweroff"),
    NetworkAction(action="reset"),
    NetworkAction(action="apply"),
    TenantAction(action="poweroff"),
]
HARMLESS = [PowerOn(), CreateSnapshot(), NetworkAction(action="poweron"), TenantAction(action="poweron")]


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def guards(*, windows=(), own=(), **lists):
    selectors = {name: tuple(map(Selector, texts)) for name, texts in lists.items()}
    return Guards(windows=tuple(map(window, windows)), own=own_names(own), **selectors)


@pytest.mark.parametrize("wish", DISTURBING, ids=repr)
def test_a_protected_object_is_neither_stopped_nor_changed(wish):
    with pytest.raises(Protected, match=r"db-1 is protected \(DB-\*\)"):
        guards(protected=["DB-*"]).require(VM, (), wish, 0.0)


@pytest.mark.parametrize("wish", HARMLESS, ids=repr)
def test_what_disturbs_nobody_is_done_to_protected_objects_as_well(wish):
    guards(protected=["*"], own=[UUID], windows=["* mon 00:00-00:01"]).require(VM, (), wish, 0.0)


def test_a_tag_protects_what_carries_it_and_nothing_else():
    rules = guards(protected=["tag:prod"])
    assert rules.tags == {"prod"}
    with pytest.raises(Protected):
        rules.require(VM, {"prod", "x"}, PowerOff(), 0.0)
    rules.require(VM, {"production"}, PowerOff(), 0.0)


@pytest.mark.parametrize(
    ("wish", "refused"),
    [
        (ForceOff(), True),
        (Reset(hard=True), True),
        (PowerOff(wait_seconds=5, force=True), True),
        (Resize(cpu_cores=1, force=True), True),
        (RestoreSnapshot(snapshot_key=1, force=True), True),
        (PowerOff(), False),
        (PowerOff(wait_seconds=5, force=None), False),
        (Reset(), False),
        (Resize(cpu_cores=1), False),
    ],
    ids=repr,
)
def test_what_is_never_forced_may_be_asked(wish, refused):
    rules = guards(never_force=["db-?"])
    assert rules.never_forced(VM, ())
    if not refused:
        return rules.require(VM, (), wish, 0.0)
    with pytest.raises(Protected, match="never forced"):
        rules.require(VM, (), wish, 0.0)
    return None


@pytest.mark.parametrize("own", [UUID, UUID.upper(), UUID.replace("-", ""), "DB-1", " db-1 "])
def test_the_vms_that_we_run_on_are_known_by_uuid_and_by_name(own):
    with pytest.raises(Protected, match="the gateway itself runs on db-1"):
        guards(own=[own]).require(VM, (), PowerOff(), 0.0)
    guards(own=[own]).require(NETWORK, (), NetworkAction(action="poweroff"), 0.0)


@pytest.mark.parametrize(
    ("written", "now", "opens"),
    [
        ("* daily 01:00-03:00", "2026-11-25 02:00", "2026-11-25 02:00"),
        ("* daily 01:00-03:00", "2026-11-25 03:00", "2026-11-26 01:00"),
        ("* sat,sun 22:00-04:00", "2026-11-25 12:00", "2026-11-28 22:00"),
        ("* sat,sun 22:00-04:00", "2026-11-30 03:59", "2026-11-30 03:59"),  # Monday morning belongs to Sunday's window
        ("* sat,sun 22:00-04:00", "2026-11-30 04:00", "2026-12-05 22:00"),
        ("* wed 00:00-00:00", "2026-11-25 23:59", "2026-11-25 23:59"),
        ("* wed 00:00-00:00", "2026-11-26 00:00", "2026-12-02 00:00"),
    ],
)
def test_a_window_opens_on_its_days_in_utc(written, now, opens):
    assert moment(window(written).next_opening(at(now))) == moment(at(opens))


def test_outside_its_windows_an_object_is_left_alone_and_the_next_opening_is_told():
    rules = guards(windows=["db-* sat 22:00-23:00", "tag:prod daily 01:00-02:00"])
    with pytest.raises(OutsideWindow, match="opens at 2026-11-28T22:00:00") as refused:
        rules.require(VM, (), PowerOff(), at("2026-11-25 01:30"))
    assert refused.value.extra == {"opens_at": at("2026-11-28 22:00")}
    rules.require(VM, {"prod"}, PowerOff(), at("2026-11-25 01:30"))
    rules.require(NETWORK.model_copy(update={"name": "other"}), (), NetworkAction(action="reset"), 0.0)


@pytest.mark.parametrize(
    "written", ["*", "* daily", "* daily 1:00-2:00", "* dayly 01:00-02:00", "* mon 24:00-01:00", "* mon 01:00"]
)
def test_a_window_that_cannot_be_read_is_refused_with_words(written):
    with pytest.raises(ValueError, match=r"window|weekday|HH:MM"):
        window(written)


def test_names_with_spaces_have_windows_too():
    assert window("My VM mon 01:00-02:00").selector == Selector("My VM")
