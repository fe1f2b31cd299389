"""The chain of the audit, and what of a call's arguments is kept."""

import json

from gateway.core.audit import HIDDEN, MOST_ARGUMENTS, VALUE_LIMIT, Chain, faults, shown_arguments, written


def chain(length, writer="w"):
    linked = Chain(writer)
    return [linked.link(float(number), "call", {"by": "ann", "note": ""}) for number in range(length)]


def test_entries_of_several_writers_hold_as_they_are_written_and_read_again():
    first, second = chain(3, "a"), chain(2, "b")
    mixed = [first[0], second[0], first[1], second[1], first[2]]
    assert list(faults([json.loads(written(entry)) for entry in mixed], whole=True)) == []
    assert "note" not in first[0]


def test_a_window_may_begin_in_the_middle_and_an_archive_may_not():
    assert list(faults(chain(4)[2:], whole=False)) == []
    assert len(list(faults(chain(4)[2:], whole=True))) == 1


def test_each_member_of_an_entry_is_under_its_hash():
    for name in ("by", "at", "event", "seq", "prev", "writer", "hash"):
        entries = chain(2)
        entries[1] = {**entries[1], name: "other"}
        assert list(faults(entries, whole=True)), name
    added = [{**chain(1)[0], "job": "x"}]
    assert list(faults(added, whole=True))


def test_what_is_secret_by_its_name_is_hidden_and_what_is_huge_is_cut():
    secrets = {"key": "s", "api_key": "s", "password": "s", "VERGEOS_PASS": "s", "token": "s", "client_secret": "s"}
    assert set(shown_arguments(secrets).values()) == {HIDDEN}
    kept = shown_arguments(
        {"monkey": "x", "id": 3, "list": ["a", {"b": 1}], "text": "a\x00b\n" + "y" * 900, "none": None}
    )
    assert (kept["monkey"], kept["id"], kept["list"], kept["none"]) == ("x", 3, '["a", {"b": 1}]', None)
    assert len(kept["text"]) == VALUE_LIMIT
    assert "\x00" not in kept["text"]
    assert len(shown_arguments({str(number): number for number in range(100)})) == MOST_ARGUMENTS
