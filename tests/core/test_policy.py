"""The policy engine: default deny, deny beats allow, selectors, rights within rights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import Caller, Permission
from gateway.core.policy import ALL, ANY, FIELDS, ROLES, Policy, Right, Rule, Selector

READ, OPERATE, FORCE, CHANGE, ADMIN = Permission
WEB = {"kind": ("vm",), "site": ("lab",), "name": ("web-1",), "tag": ("prod", "web"), "node": ("node1",)}
DB = {**WEB, "name": ("db-1",), "tag": ("prod", "db"), "node": ()}


def on(**fields):
    return (Selector(tuple((name, tuple(globs.split("|"))) for name, globs in fields.items())),)


def allowed(*permissions, **fields):
    return Rule("allow", frozenset(permissions), (on(**fields),) if fields else ())


def denied(*permissions, **fields):
    return Rule("deny", frozenset(permissions), (on(**fields),) if fields else ())


@pytest.mark.parametrize(
    ("right", "permission", "facts", "expected"),
    [
        (Right(), READ, WEB, False),
        (Right((allowed(READ),)), READ, WEB, True),
        (Right((allowed(READ),)), OPERATE, WEB, False),
        (Right((allowed(READ, name="web-*"),)), READ, WEB, True),
        (Right((allowed(READ, name="WEB-*"),)), READ, WEB, True),
        (Right((allowed(READ, name="web-*"),)), READ, DB, False),
        (Right((allowed(READ, name="web-*|db-*"),)), READ, DB, True),
        (Right((allowed(READ, name="web-*", tag="prod"),)), READ, WEB, True),
        (Right((allowed(READ, name="web-*", tag="test"),)), READ, WEB, False),
        (Right((allowed(READ, node="node1"),)), READ, DB, False),
        (Right((allowed(READ, network="*"),)), READ, WEB, False),
        (Right((allowed(READ),), (denied(READ, tag="db"),)), READ, DB, False),
        (Right((allowed(READ),), (denied(READ, tag="db"),)), READ, WEB, True),
        (Right((allowed(*ALL),), within=(Right((allowed(READ),)),)), READ, WEB, True),
        (Right((allowed(*ALL),), within=(Right((allowed(READ),)),)), OPERATE, WEB, False),
        (Right((allowed(*ALL),), within=(Right((allowed(*ALL, name="web-*"),)),)), ADMIN, DB, False),
    ],
)
def test_what_is_allowed(right, permission, facts, expected):
    assert right.decide(permission, facts).allowed is expected


def test_a_verdict_names_the_rule_that_decided():
    right = Right((allowed(READ),), (denied(READ, tag="db"),), whose="ann")
    assert right.decide(READ, WEB).rule == "allow"
    assert right.decide(READ, DB).rule == "deny"
    assert right.decide(ADMIN, WEB).rule == "no rule gives ann 'admin' here"


def test_the_built_in_roles_give_what_the_readme_says():
    held = {name: set(Policy().right([name]).permissions) for name in ROLES}
    assert held == {
        "viewer": {READ},
        "operator": {READ, OPERATE},
        "engineer": {READ, OPERATE, FORCE, CHANGE},
        "admin": set(Permission),
    }


def test_a_role_that_is_no_longer_there_gives_nothing():
    assert Policy().right(["gone"]).permissions == frozenset()


def test_permissions_are_what_holds_for_some_object_at_least():
    right = Right((allowed(READ, OPERATE, name="web-*"), allowed(ADMIN)), (denied(ADMIN), denied(READ, name="web-2")))
    assert right.permissions == {READ, OPERATE}
    assert Right((allowed(*ALL),), within=(right,)).permissions == {READ, OPERATE}


def test_a_caller_without_a_right_holds_his_permissions_everywhere():
    caller = Caller("someone", frozenset({READ}))
    assert caller.decide(READ, WEB).allowed
    assert not caller.decide(OPERATE, WEB).allowed


permissions = st.sets(st.sampled_from(list(Permission))).map(frozenset)
values = st.lists(st.sampled_from(["a", "b", "ab", "c"]), max_size=2).map(tuple)
facts = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)
globs = st.lists(st.sampled_from(["a", "a*", "*", "c", "?"]), min_size=1, max_size=2).map(tuple)
selectors = st.dictionaries(st.sampled_from(FIELDS), globs, min_size=1, max_size=2).map(
    lambda fields: Selector(tuple(fields.items()))
)
choices = st.lists(st.lists(selectors, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple)
rules = st.builds(Rule, st.just("rule"), permissions, choices)
some_rules = st.lists(rules, max_size=3).map(tuple)
rights = st.builds(
    Right, some_rules, some_rules, st.lists(st.builds(Right, some_rules, some_rules), max_size=1).map(tuple)
)


@given(rights, st.sampled_from(list(Permission)), facts)
def test_nothing_is_allowed_that_permissions_do_not_tell(right, permission, known):
    if right.decide(permission, known).allowed:
        assert permission in right.permissions


@given(rights, some_rules, st.sampled_from(list(Permission)), facts)
def test_one_more_denial_never_allows_more(right, more, permission, known):
    harder = Right(right.allow, right.deny + more, right.within)
    assert right.decide(permission, known).allowed or not harder.decide(permission, known).allowed


@given(rights, rights, st.sampled_from(list(Permission)), facts)
def test_a_right_within_another_is_what_both_allow(right, outer, permission, known):
    both = right.decide(permission, known).allowed and outer.decide(permission, known).allowed
    inner = Right(right.allow, right.deny, (*right.within, outer))
    assert inner.decide(permission, known).allowed is both


@given(rights, st.sampled_from(list(Permission)), facts, st.sets(st.sampled_from(FIELDS)).map(frozenset))
def test_what_is_not_known_may_be_denied(right, permission, known, unknown):
    told = {name: value for name, value in known.items() if name not in unknown}
    assert right.decide(permission, known).allowed or not right.blind_to(unknown).decide(permission, told).allowed


def test_who_reads_nothing_sees_nothing_whatever_else_he_may_do():
    assert Right((allowed(READ),)).sees_all
    for right in (
        Right((allowed(OPERATE),)),
        Right((allowed(*ALL),), (denied(READ),)),
        Right((allowed(*ALL),), (denied(READ, tag="db"),)),
        Right((allowed(*ALL),), within=(Right((allowed(OPERATE),)),)),
    ):
        assert not right.sees_all


@given(rights, st.sampled_from(list(Permission)), facts)
def test_what_no_rule_asks_for_decides_nothing(right, permission, known):
    asked = {name: value for name, value in known.items() if name in right.fields}
    assert right.decide(permission, known) == right.decide(permission, asked)
    if not right.fields:
        assert right.decide(permission, ANY).allowed is (permission in right.permissions)
