"""The policy file: what it may say, and which line is told where it is wrong."""

import pytest

from gateway.core.access import Permission
from gateway.rights.policy_file import WrongPolicy, parse_policy, parse_selector, read_policy, selector_text

GOOD = """
roles:
  webmaster:
    allow:
      - permissions: [read, operate]
        on: {name: "web-*"}
      - {permissions: read, on: [{kind: [node, network]}, {tag: shared}]}
    deny:
      - permissions: all
        on: {tag: secret}
people:
  ann: [webmaster, viewer]
  bob: {roles: engineer, on: {node: node1}}
groups:
  platform: admin
scopes:
  vergeos:read: viewer
clients:
  claude-desktop: {kind: agent, roles: operator}
"""
WEB = {"kind": ("vm",), "name": ("web-1",)}


def test_a_policy_says_who_may_do_what_on_which():
    policy = parse_policy(GOOD)
    ann, bob = policy.of_person("ann"), policy.of_person("bob")
    assert ann.decide(Permission.OPERATE, WEB).rule == "role webmaster, allow 1 (line 5)"
    assert ann.decide(Permission.READ, {**WEB, "tag": ("secret",)}).rule == "role webmaster, deny 1 (line 9)"
    assert not ann.decide(Permission.OPERATE, {"kind": ("node",)}).allowed
    assert bob.decide(Permission.FORCE, {**WEB, "node": ("node1",)}).allowed
    assert not bob.decide(Permission.READ, WEB).allowed
    assert policy.of_person("carol", ["platform"]).permissions == set(Permission)
    assert policy.of_person("carol").permissions == set()
    assert policy.scopes_for(Permission.READ) == ("vergeos:read",)
    assert policy.clients["claude-desktop"].agent


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("roles:\n  a:\n    allow:\n      - permissions: [raed]\n", 4, "'raed' is not one of read"),
        ("roles:\n  a: {}\n", 2, "allow is missing"),
        ("roles:\n  admin: {allow: [{permissions: read}]}\n", 2, "built in"),
        ("roles:\n  a:\n    allow:\n      - {permissions: read, on: {nmae: x}}\n", 4, "'nmae' is not one of kind"),
        ("roles:\n  a:\n    allow:\n      - {permissions: read, on: {}}\n", 4, "at least one"),
        ("roles:\n  a:\n    allow:\n      - {permissions: read, on: {kind: vms}}\n", 4, "'vms' is not one of vm"),
        ("people:\n  ann: [viewer, oprator]\n", 2, "'oprator' is not one of viewer"),
        ("people:\n  ann: viewer\n  ann: admin\n", 3, "stands here twice"),
        ("people: [ann]\n", 1, "names with a value each"),
        ("peple:\n  ann: viewer\n", 2, "'peple' is not one of roles"),
        ("people:\n  ann: [viewer\n", 3, "expected"),
        ("a: b: c\n", 1, "not allowed here"),
        ("clients:\n  x: {kind: robot}\n", 2, "'robot' is not one of agent"),
    ],
)
def test_a_wrong_line_is_named(text, line, told):
    with pytest.raises(WrongPolicy, match="line") as refused:
        parse_policy(text, "policy.yaml")
    assert refused.value.extra["line"] == line
    assert f"policy.yaml, line {line}: " in refused.value.detail
    assert told in refused.value.detail


@pytest.mark.parametrize("text", ["\x00", "[" * 2_000, "- a", "just words"])
def test_rubbish_is_refused(text):
    with pytest.raises(WrongPolicy):
        parse_policy(text)


@pytest.mark.parametrize("text", ["", "# nothing yet"])
def test_an_empty_file_gives_nobody_anything(text):
    assert parse_policy(text).of_person("ann").permissions == frozenset()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WrongPolicy, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")


def test_a_selector_is_read_as_it_is_written():
    selector = parse_selector("name=web-*|db-*, tag=prod")
    assert selector_text(selector) == "name=web-*|db-*,tag=prod"
    for wrong in ("", "name", "name=", "nmae=x", "name=a,name=b", "kind=vms"):
        with pytest.raises(ValueError, match="is"):
            parse_selector(wrong)
