"""The arguments of `keys` and `policy` on the command line."""

import argparse


def add_keys(parser: argparse.ArgumentParser) -> None:
    """Add `create`, `list` and `revoke`."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    create = actions.add_parser("create", help="make a key and print its text, this once")
    create.add_argument("--name", required=True)
    create.add_argument("--owner", required=True, help="the person who answers for it")
    create.add_argument("--role", required=True, action="append", help="may be given more than once")
    create.add_argument("--kind", choices=("person", "agent", "machine"), default="person")
    create.add_argument(
        "--select", action="append", default=[], help="only objects that match, e.g. 'name=web-*,tag=prod'; or another"
    )
    create.add_argument("--expires", metavar="SPAN", help="after e.g. 12h, 90d or 52w; else never")
    create.add_argument("--cidr", action="append", default=[], help="only from these addresses, e.g. 192.0.2.0/24")
    actions.add_parser("list", help="list the keys, and when each was last used")
    revoke = actions.add_parser("revoke", help="take a key back, on all replicas within 2 s")
    revoke.add_argument("name", help="name or id of the key")


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Add `check` and `explain`."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    check = actions.add_parser("check", help="read a policy file and say what is in it, or which line is wrong")
    check.add_argument("file")
    explain = actions.add_parser("explain", help="say whether somebody may do something, and by which rule")
    explain.add_argument("--as", dest="who", required=True, metavar="WHO", help="a person, or the name of a key")
    explain.add_argument("tool", help="e.g. power_off_vm")
    explain.add_argument("object", nargs="?", help="id or exact name of what the tool is used on")
