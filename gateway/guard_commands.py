"""`freeze`, `unfreeze`, `offboard` and `audit` on the command line; they work on Redis itself."""

import argparse

from gateway import audit_command
from gateway.core.guard import unix_time
from gateway.operating import changing, operator, store
from gateway.settings import Settings
from gateway.tools.offboarding import let_in_again, take_all_back


async def freeze(settings: Settings, options: argparse.Namespace) -> None:
    """Stop all changes on all replicas."""
    until = unix_time(options.until)
    async with changing(settings, "freeze", why=options.why, until=until) as services:
        print((await services.freeze(operator(), options.why, until)).told())


async def unfreeze(settings: Settings, _options: argparse.Namespace) -> None:
    """Let changes go on."""
    async with changing(settings, "unfreeze") as services:
        ended = await services.unfreeze()
        print("nothing was frozen" if ended is None else f"changes go on; the freeze by {ended.by} is over")


async def offboard(settings: Settings, options: argparse.Namespace) -> None:
    """Take everything back from somebody who leaves, or with `undo` let him in again."""
    async with changing(settings, "offboard", name=options.name, undo=options.undo) as services:
        if options.undo:
            await let_in_again(services, options.name)
            print(f"{options.name} is let in again; keys that were revoked stay revoked")
        else:
            print((await take_all_back(services, options.name)).words())


async def audit(settings: Settings, options: argparse.Namespace) -> None:
    """Show, verify or export the audit."""
    async with store(settings) as services:
        await audit_command.run(services.audit, options)


COMMANDS = {"freeze": freeze, "unfreeze": unfreeze, "offboard": offboard, "audit": audit}
