"""Making a key: what somebody wants of it, checked against the policy before it is stored."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network

from gateway.core.access import LOCAL, CallerKind
from gateway.core.api_key import ApiKeyView
from gateway.core.errors import InvalidArgument
from gateway.rights.directory import NEW_SECONDS, Directory
from gateway.rights.policy_file import parse_selector, selector_text
from gateway.store.api_keys import NameTaken, NewKey


async def issue(directory: Directory, wanted: NewKey) -> tuple[ApiKeyView, str]:
    """Make a key; return it with the text that is shown this once: no replica lets in the nameless by then.

    Raises `InvalidArgument` for a role, selector or network that there is not and for an agent whose owner has no
    right, `NameTaken`, `StoreError`.
    """
    await directory.refresh()
    unknown = [role for role in wanted.roles if role not in directory.policy.roles]
    if unknown or not wanted.roles:
        known = ", ".join(directory.policy.roles)
        raise InvalidArgument(f"role: {unknown[0] if unknown else 'none'} is not one of {known}")
    if wanted.kind is CallerKind.AGENT and directory.of_person(wanted.owner) is None:
        raise InvalidArgument(
            f"owner: {wanted.owner} has no right here, and an agent may do no more than its owner",
            next_step="Name the owner under `people` in the policy file, or make a key of his own first.",
        )
    _require_own_name(directory, wanted)
    clean = replace(wanted, select=tuple(map(_selector, wanted.select)), cidrs=tuple(map(_network, wanted.cidrs)))
    first = not directory.keys_in_use
    made = await directory.keys.create(clean)
    directory.look_again()
    if first:  # everybody was let in until now
        await asyncio.sleep(NEW_SECONDS)
    return made


async def revoke(directory: Directory, name: str) -> ApiKeyView:
    """Take a key back, by its name or id. Raises `UnknownObject`, `StoreError`."""
    revoked = await directory.keys.revoke(name)
    directory.look_again()
    return revoked


def _require_own_name(directory: Directory, wanted: NewKey) -> None:
    """Raise `NameTaken` where its holder would be taken for somebody who calls without any key."""
    machine = wanted.kind is CallerKind.MACHINE
    if machine and wanted.name in directory.policy.people:
        raise NameTaken(f"{wanted.name} is a person in the policy file, and a machine cannot have the same name")
    if LOCAL.name == (wanted.name if machine else wanted.owner):
        raise NameTaken(f"{LOCAL.name} is whoever calls without proving who he is")


def _selector(text: str) -> str:
    try:
        return selector_text(parse_selector(text))
    except ValueError as exc:
        raise InvalidArgument(f"select: {exc}", next_step="Write it as name=web-*,tag=prod|test.") from None


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise InvalidArgument("cidr: is no address or network", next_step="Write it as 192.0.2.0/24.") from None
