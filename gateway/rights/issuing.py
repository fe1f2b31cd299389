"""Making a key: what somebody wants of it, checked against the policy before it is stored."""

from dataclasses import replace
from ipaddress import ip_network

from gateway.core.access import CallerKind
from gateway.core.api_key import ApiKeyView
from gateway.core.errors import InvalidArgument
from gateway.rights.directory import Directory
from gateway.rights.policy_file import parse_selector, selector_text
from gateway.store.api_keys import NewKey


async def issue(directory: Directory, wanted: NewKey) -> tuple[ApiKeyView, str]:
    """Make a key; return it with the text that is shown this once.

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
    clean = replace(wanted, select=tuple(map(_selector, wanted.select)), cidrs=tuple(map(_network, wanted.cidrs)))
    made = await directory.keys.create(clean)
    directory.look_again()
    return made


async def revoke(directory: Directory, name: str) -> ApiKeyView:
    """Take a key back, by its name or id. Raises `UnknownObject`, `StoreError`."""
    revoked = await directory.keys.revoke(name)
    directory.look_again()
    return revoked


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
