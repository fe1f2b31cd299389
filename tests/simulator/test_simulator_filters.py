"""The filter grammar of the simulated API (VergeOS API notes 2.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.filters import Token, tokenize

CASES = [
    ("name eq 'web-1' and is_snapshot eq false", ["web-1"]),
    ("name bw 'web-' and is_snapshot eq false and $key lt 40", ["web-2", "web-1"]),
    ("name ew '-vm'", ["test-vm"]),
    ("name cs 'ST-V'", []),
    ("name ct 'ST-V'", ["test-vm"]),
    ("name rx '^(db|test)-[[:alnum:]]+$' and is_snapshot eq false and $key lt 40", ["db-1", "test-vm"]),
    (r"name rx '^db-\\d$'", []),
    ("name rx '(?i)WEB'", []),
    ("name re 'web'", []),
    ("machine eq 41", ["web-1"]),
    ("machine eq '41'", ["web-1"]),
    ("machine eq 41 or machine eq 37", ["web-2", "web-1"]),
    ("(machine eq 41 or machine eq 37) and name eq 'web-2'", ["web-2"]),
    # No precedence: (db-1 or web-1) and web-1, not db-1 or (web-1 and web-1).
    ("name eq 'db-1' or name eq 'web-1' and name eq 'web-1' and is_snapshot eq false", ["web-1"]),
    ("name eq 'db-1' and is_snapshot eq false or (name eq 'web-1' and is_snapshot eq false)", ["db-1", "web-1"]),
    ("$key eq 34", ["web-1"]),
    ("key eq 34", ["web-1"]),
    ("name eq 'test-vm' and created le {$now}", ["test-vm"]),
    ("name eq 'test-vm' and created ge {$add({$now},-3600)}", []),
    ("name eq 'test-vm' and snapshot_profile eq null", ["test-vm"]),
    ("name eq '35' and is_snapshot eq false", ["35"]),
    (r"name eq 'zzzz\' or key ne \'zzzz'", ["zzzz' or key ne 'zzzz"]),
    (r"name eq 'o\'brien\'s \{$now} \\ \"box\"'", ["o'brien's {$now} \\ \"box\""]),
]
REFUSED = [
    "name like '%web%'",
    "name in ('a','b')",
    "name sw 'web'",
    "name contains 'web'",
    "contains(name,'web')",
    "name matches 'web'",
    "name regex 'web'",
    "name eq 'o''brien'",
    "name eq 'open",
    "name eq 'brace { open'",
    "(name eq 'web-1'",
    "name eq",
    "name",
    "machine#status#running eq true",
    "no_such_column eq 1",
    "name eq web-1",
    "created ge {$yesterday}",
]


@pytest.mark.parametrize(("source", "names"), CASES)
async def test_a_filter_selects_these_vms(api, source, names):
    assert await api.names(source) == names


@pytest.mark.parametrize("source", REFUSED)
async def test_what_is_outside_the_grammar_is_refused(api, source):
    assert await api.ask("GET", "vms", filter=source) == (422, {"err": "Invalid argument"})


async def test_an_unescaped_name_can_select_every_row(api):
    assert len(await api.names("name eq 'zzzz' or key ne 'zzzz'")) > 40


async def test_an_unescaped_brace_is_swallowed_in_silence(api):
    assert await api.names("name eq 'web-{anything {nested}}1' and is_snapshot eq false") == ["web-1"]


async def test_a_long_chain_of_or_gives_the_same_rows_as_single_reads(api):
    keys = range(1, 60)
    chain = " or ".join(f"machine eq {key}" for key in keys)
    together = await api.get("machine_status", filter=f"({chain}) and running eq true", fields="machine")
    running = []
    for key in keys:
        rows = await api.get("machine_status", filter=f"machine eq {key}", fields="machine,running")
        running += [row["machine"] for row in rows if row["running"]] if isinstance(rows, list) else []
    assert sorted(row["machine"] for row in together) == running


async def test_an_index_on_one_side_of_or_loses_no_row(api):
    source = "name eq 'test-vm' or $key ge 34 and $key le 35 and is_snapshot eq false"
    assert await api.names(source) == ["test-vm", "web-1", "app-1"]


@given(st.text())
def test_any_text_escaped_with_backslashes_is_read_back_as_it_was(text):
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("{", "\\{")
    assert tokenize(f"name eq '{escaped}'") == [Token("word", "name"), Token("word", "eq"), Token("text", text)]


@pytest.mark.parametrize("source", ["(" * 2500 + "name eq 'a'" + ")" * 2500, "name rx '[[a]'", "name rx '('"])
async def test_strange_filters_are_answered_and_not_a_server_error(api, source):
    status, _ = await api.ask("GET", "vms", filter=source)
    assert status in (200, 422)
