"""No value can become part of a filter: each is read back by a small parser of the grammar that VergeOS documents."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.vergeos.filters import all_of, any_of, at_least, at_most, contains, eq

TOKEN = re.compile(r"\s*(?:([()])|'((?:\\.|[^\\'{])*)'|([^\s()']+))", re.DOTALL)

# the injections and awkward names of the API notes, and what grew from them
NAMES = [
    "zzzz' or key ne 'zzzz",
    "O'Brien",
    "back\\slash",
    "ends with \\",
    "\\' or true",
    "{$now}",
    "{$add({$now},-3600)}",
    "a{b}c",
    "''",
    "",
    "name) or (1 eq 1",
    "ünïcödé 名前",
    "line\nend",
    "%27 or 1 eq 1",
]


def tokens(text):
    """Split a filter into parentheses, words and ("text", value); an unescaped brace or quote is no text."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match, f"not a filter from {at}: {text!r}"
        bracket, quoted, word = match.groups()
        found.append(bracket or word or ("text", re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)))
        at = match.end()
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("build", "operator"), [(eq, "eq"), (contains, "ct")])
def test_an_awkward_name_stays_one_value(build, operator, name):
    assert tokens(build("name", name)) == ["name", operator, ("text", name)]


@given(st.text(), st.text())
def test_any_two_texts_stay_two_values(one, other):
    found = tokens(any_of(eq("name", one), contains("name", other)))
    assert found == ["(", "name", "eq", ("text", one), "or", "name", "ct", ("text", other), ")"]


@given(st.text(alphabet="\\'{}() or", max_size=12))
def test_texts_of_the_grammars_own_signs_stay_values(text):
    assert tokens(eq("name", text)) == ["name", "eq", ("text", text)]


def test_numbers_flags_and_nothing_are_literals():
    assert [eq("a", value) for value in (5, 0, True, False, None)] == [
        "a eq 5",
        "a eq 0",
        "a eq true",
        "a eq false",
        "a eq null",
    ]
    assert (at_least("a", 1), at_most("a", 9)) == ("a ge 1", "a le 9")


def test_groups_stand_in_parentheses_for_there_is_no_precedence():
    either = any_of(eq("a", 1), eq("a", 2))
    assert all_of(eq("b", 0), either) == "(b eq 0 and (a eq 1 or a eq 2))"
    assert any_of(eq("a", 1)) == "a eq 1"


@pytest.mark.parametrize("group", [all_of, any_of])
def test_an_empty_group_is_refused(group):
    with pytest.raises(ValueError, match="empty"):
        group()
