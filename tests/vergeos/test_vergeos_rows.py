"""Rows as VergeOS sends them, with all their drift, turned into the core's shapes; and text made fit to be shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import VergeOSBadAnswer
from gateway.core.text import clean
from gateway.core.vm import round_up_ram_mb
from gateway.vergeos import columns, rows

LISTED = {
    "$key": 12,
    "name": "web-1",
    "description": "front",
    "cpu_cores": 2,
    "ram": 4096,
    "os_family": "linux",
    "enabled": True,
    "need_restart": False,
    "machine": 41,
    "running": True,
    "status": "running",
    "node_name": "node2",
    "cluster_name": "main",
    "uuid": "5b1c",
}
LOOKED = LISTED | {
    "is_snapshot": False,
    "allow_hotplug": True,
    "guest_agent": False,
    "info": "",
    "started": 1_790_000_000,
    "max_cores_per_vm": 64,
    "max_ram_per_vm": 524_288,
}


def without(row, *fields):
    return {name: value for name, value in row.items() if name not in fields}


def test_a_list_row_has_the_published_fields():
    assert rows.vm_row(LISTED).model_dump() == {
        "id": 12,
        "name": "web-1",
        "running": True,
        "status": "running",
        "cpu_cores": 2,
        "ram_mb": 4096,
        "os_family": "linux",
        "enabled": True,
        "need_restart": False,
        "node": "node2",
        "cluster": "main",
        "description": "front",
        "machine_id": 41,
        "uuid": "5b1c",
    }


def test_keys_and_numbers_may_be_texts_and_flags_numbers():
    drifted = LISTED | {"$key": "12", "machine": "41", "ram": "4096", "cpu_cores": 2.0, "enabled": 1, "running": "true"}
    assert rows.vm_row(drifted) == rows.vm_row(LISTED)


def test_a_stopped_vm_may_lack_every_joined_column():
    row = rows.vm_row(without(LISTED, "running", "node_name", "cluster_name", "machine") | {"status": "stopped"})
    assert (row.running, row.node, row.cluster, row.machine_id) == (False, None, None, None)


def test_a_list_says_that_the_power_state_is_unknown():
    row = rows.vm_row(without(LISTED, "running", "status"))
    assert (row.running, row.status) == (None, "unknown")


def test_a_look_without_a_power_state_is_refused_rather_than_taken_for_off():
    with pytest.raises(VergeOSBadAnswer, match="power state of VM 12"):
        rows.vm_look(without(LOOKED, "running", "status"))
    assert rows.vm_look(without(LOOKED, "running")).running is True


@pytest.mark.parametrize("field", ["$key", "machine", "cpu_cores", "ram"])
def test_a_look_without_what_it_must_know_is_refused(field):
    for missing in (None, "", "x", True, [], float("inf")):
        with pytest.raises(VergeOSBadAnswer, match="lacks the number"):
            rows.vm_look(LOOKED | {field: missing})


def test_a_look_keeps_the_exact_name_and_knows_the_clusters_limits():
    look = rows.vm_look(LOOKED | {"name": "we\u202eb\n1"})
    assert look.name == "we\u202eb\n1"
    assert (look.max_cores_per_vm, look.max_ram_mb_per_vm, look.started_at) == (64, 524_288, 1_790_000_000)


def test_a_limit_of_zero_is_no_limit_and_a_time_of_zero_is_never():
    look = rows.vm_look(LOOKED | {"max_cores_per_vm": 0, "max_ram_per_vm": None, "started": 0})
    assert (look.max_cores_per_vm, look.max_ram_mb_per_vm, look.started_at) == (None, None, None)


def test_every_text_that_goes_out_is_clean():
    dirty = "a\u202e\x00\nb" + "x" * 5_000
    texts = ("name", "description", "os_family", "status", "node_name", "cluster_name", "uuid", "machine_type", "info")
    row = LOOKED | dict.fromkeys(texts, dirty)
    shapes = [rows.vm_row(row), rows.vm(row), rows.vm_status(row), rows.log_line({"text": dirty, "user": dirty})]
    for shape in shapes:
        for text in (value for value in shape.model_dump().values() if isinstance(value, str)):
            assert text.isprintable()
            assert len(text) <= columns.TEXT_LIMIT


def test_use_and_configuration_are_read_with_their_units():
    vm = rows.vm(LOOKED | {"cpu_pct": "12.5", "ram_used": 2048, "created": 1_700_000_000, "boot_order": "cd"})
    assert (vm.cpu_used_percent, vm.ram_used_mb, vm.created_at, vm.modified_at) == (12.5, 2048, 1_700_000_000, None)


def test_the_logs_microseconds_become_seconds():
    line = rows.log_line({"timestamp": 1_790_000_000_500_000, "level": "error", "text": "no node has room", "user": 1})
    assert (line.at, line.level, line.text, line.user) == (1_790_000_000.5, "error", "no node has room", "1")


def test_a_machine_without_a_state_is_not_observed():
    assert rows.machine_state({"machine": 5, "running": None}) is None
    assert rows.machine_state({"running": True}) is None
    state = rows.machine_state({"machine": "5", "running": False, "status": "stopped", "started": 7, "node_name": None})
    assert (state.machine, state.running, state.started_at, state.node) == (5, False, 7, None)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (36, 36),
        ("36", 36),
        ("0", 0),
        ("0123", "0123"),
        ("3f0c", "3f0c"),
        ("1" * 40, "1" * 40),
        ("²", "²"),
        (None, None),
        ("", None),
        (True, None),
        ([], None),
    ],
)
def test_a_key_is_a_number_where_it_is_one(told, meant):
    assert columns.key(told) == meant


def test_an_identity_tolerates_missing_fields():
    assert rows.identity({}) == rows.Identity("", "", "")
    assert rows.identity({"$key": 1, "cloud_name": "lab", "os_version": "26.1"}) == rows.Identity("1", "lab", "26.1")


@pytest.mark.parametrize(("asked", "rounded"), [(256, 256), (257, 512), (1000, 1024), (1, 256)])
def test_ram_is_rounded_up_to_256(asked, rounded):
    assert round_up_ram_mb(asked) == rounded


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1", "web-1"),
        ("two\nlines\tand\u00a0more", "two lines and more"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("\x1b[31mred\x07", "[31mred"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("half \ud800", "half "),
        ("नि\u200dर 👩\u200d💻", "नि\u200dर 👩\u200d💻"),
        ("x" * 21, "x" * 19 + "…"),
        ("\0" * 100 + "hidden", ""),
    ],
)
def test_text_is_cleaned(text, shown):
    assert clean(text, 20) == shown


@given(st.text(max_size=60), st.integers(1, 30))
def test_clean_text_is_short_visible_and_stays_as_it_is(text, limit):
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in shown)
    assert clean(shown, limit) == shown
