"""Rows of the log and of alarms, with all their drift; filters of the log; and spans of time."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument, VergeOSBadAnswer
from gateway.core.journal import moment_of
from gateway.vergeos.columns import TEXT_LIMIT
from gateway.vergeos.journal import LogQuery, alarm, log_entry

NOW = 1_790_000_000.0
DIRTY = "a\u202e\x00\nb" + "x" * 5_000
LINE = {
    "$key": "7",
    "timestamp": "1790000000500000",
    "level": "error",
    "user": None,
    "object_type": "vm",
    "object_name": "web-1",
    "text": "no node has room",
}
ALARM = {
    "$key": 3,
    "level": "warning",
    "status": "Node 1 is warm",
    "type": "Node temperature",
    "type_description": "A node is too warm",
    "owner": "nodes/1",
    "owner_type": "nodes",
    "owner_name": "node1",
    "resolvable": 0,
    "resolve_text": None,
    "created": 1_780_000_000,
    "snooze": 0,
}


def test_the_logs_microseconds_become_seconds():
    assert log_entry(LINE).model_dump() == {
        "id": 7,
        "logged_at": 1_790_000_000.5,
        "level": "error",
        "object_type": "vm",
        "object": "web-1",
        "user": "",
        "text": "no node has room",
    }
    assert log_entry({"$key": 1}).logged_at == 0
    with pytest.raises(VergeOSBadAnswer):
        log_entry({"text": "x"})


def test_an_alarm_names_its_owner_by_kind_id_and_name():
    assert alarm(ALARM).model_dump() == {
        "id": 3,
        "level": "warning",
        "type": "Node temperature",
        "text": "Node 1 is warm",
        "object_type": "node",
        "object_id": 1,
        "object": "node1",
        "raised_at": 1_780_000_000,
        "snooze_ends_at": None,
        "resolvable": False,
        "advice": "",
        "description": "A node is too warm",
    }


@pytest.mark.parametrize(
    ("owner", "kind", "meant"),
    [
        ("vms/12", "vms", ("vm", 12)),
        ("vnets/5", "", ("vnet", 5)),
        ("tenant_nodes/4", "tenant_nodes", ("tenant_node", 4)),
        ("system/1", "system", ("system", 1)),
        ("volumes/3f0c", "", ("volume", "3f0c")),
        ("self", "users", ("user", "self")),
        (12, "vms", ("vm", 12)),
        (None, "", ("", None)),
    ],
)
def test_owners_come_in_several_forms(owner, kind, meant):
    found = alarm(ALARM | {"owner": owner, "owner_type": kind, "owner_name": None})
    assert (found.object_type, found.object_id) == meant


def test_an_alarm_is_snoozed_until_its_moment():
    silenced = alarm(ALARM | {"snooze": int(NOW)})
    assert silenced.snoozed(NOW - 1)
    assert not silenced.snoozed(NOW)
    assert not alarm(ALARM).snoozed(0)


def test_every_text_that_goes_out_is_clean():
    texts = ("level", "status", "type", "type_description", "owner", "owner_type", "owner_name", "resolve_text", "user")
    dirty = dict.fromkeys((*texts, "object_type", "object_name", "text"), DIRTY)
    for shape in (log_entry(LINE | dirty), alarm(ALARM | dirty), alarm(ALARM | dirty | {"owner_type": ""})):
        for text in (value for value in shape.model_dump().values() if isinstance(value, str)):
            assert text.isprintable()
            assert len(text) <= TEXT_LIMIT


def test_the_log_is_filtered_by_what_was_asked_and_by_nothing_else():
    assert LogQuery(50).filter is None
    assert LogQuery(50, level="error").filter == "level eq 'error'"
    query = LogQuery(50, level="error", object_type="vm", object="it's {x}")
    assert query.filter == r"(level eq 'error' and object_type eq 'vm' and object_name eq 'it\'s \{x}')"


@pytest.mark.parametrize(
    ("since", "back"), [("90s", 90), ("30m", 1_800), (" 2H ", 7_200), ("3d", 259_200), ("1w", 604_800), ("0s", 0)]
)
def test_a_span_counts_back_from_now(since, back):
    assert moment_of(since, NOW) == NOW - back


@pytest.mark.parametrize("since", [1_780_000_000, "1780000000"])
def test_a_bare_number_is_a_moment(since):
    assert moment_of(since, NOW) == 1_780_000_000


@given(st.text(max_size=12))
def test_anything_else_is_refused_without_a_crash(since):
    with suppress(InvalidArgument):
        assert moment_of(since, NOW) <= 10**10


def test_a_refusal_shows_how_to_say_it():
    with pytest.raises(InvalidArgument) as refused:
        moment_of("yesterday", NOW)
    assert "2h" in refused.value.next_step
