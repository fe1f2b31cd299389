"""`keys` and `policy` on the command line: keys made and revoked in Redis itself, rights explained."""

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

from gateway.core.access import CallerKind
from gateway.core.api_key import ApiKeyView
from gateway.core.errors import UnknownObject
from gateway.core.journal import moment_of
from gateway.core.policy import Policy
from gateway.operating import changing, store
from gateway.rights.issuing import issue, revoke
from gateway.rights.policy_file import read_policy
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.api_keys import NewKey
from gateway.tools import CATALOG
from gateway.tools.explaining import explain


async def keys(settings: Settings, options: argparse.Namespace) -> None:
    """Make, list or revoke keys. Raises what the store raises, and `InvalidArgument`."""
    changes = options.action != "list"
    opened = changing(settings, f"{options.action}_key", name=options.name) if changes else store(settings)
    async with opened as services:
        print(await KEYS[options.action](services, options))


async def policy(settings: Settings, options: argparse.Namespace) -> None:
    """Check a policy file, or explain a right."""
    if options.action == "check":
        print(_summary(read_policy(Path(options.file)), options.file))
        return
    async with store(settings) as services:
        await services.directory.refresh()
        caller = services.directory.of_name(options.who)
        if caller is None:
            raise UnknownObject(f"nobody is known as {options.who!r}", next_step="Name a person or a key.")
        print(await explain(services, caller, CATALOG[options.tool], options.object))


async def _create(services: Services, options: argparse.Namespace) -> str:
    now = time.time()
    new = NewKey(
        name=options.name,
        owner=options.owner,
        kind=CallerKind(options.kind),
        roles=tuple(options.role),
        select=tuple(options.select),
        cidrs=tuple(options.cidr),
        lasts_seconds=None if options.expires is None else now - moment_of(options.expires, now),
        created_by="command line",
    )
    key, token = await issue(services.directory, new)
    return f"{_line(key)}\n\n  {token}\n\nIt is shown this once. Send it as `Authorization: Bearer <key>`."


async def _list(services: Services, _options: argparse.Namespace) -> str:
    found = await services.directory.keys.all()
    return "\n".join(map(_line, found)) or "There are no keys."


async def _revoke(services: Services, options: argparse.Namespace) -> str:
    return f"revoked: {_line(await revoke(services.directory, options.name))}"


def _line(key: ApiKeyView) -> str:
    parts = [f"{key.name} ({key.id})", f"{key.kind} of {key.owner}", f"roles {', '.join(key.roles)}"]
    parts += [f"on {' or '.join(key.select)}"] if key.select else []
    parts += [f"from {', '.join(key.cidrs)}"] if key.cidrs else []
    parts.append("never expires" if key.expires_at is None else f"expires {_day(key.expires_at)}")
    parts.append("never used" if key.last_used_at is None else f"last used {_day(key.last_used_at)}")
    return "; ".join(parts)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="minutes")


def _summary(found: Policy, name: str) -> str:
    counted = {
        "roles": found.roles,
        "people": found.people,
        "groups": found.groups,
        "scopes": found.scopes,
        "clients": found.clients,
    }
    return f"{name} is fine: " + ", ".join(f"{len(members)} {what}" for what, members in counted.items())


KEYS = {"create": _create, "list": _list, "revoke": _revoke}
