"""What a command of the operator works with: the services over Redis, and an entry in the audit for what it changes."""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.audited import audited
from gateway.services import Services, open_services
from gateway.settings import Settings
from gateway.store.backend import open_backend


def operator() -> str:
    """Return who uses the command line, as others are told."""
    return f"{getpass.getuser()} at the command line"


@asynccontextmanager
async def store(settings: Settings) -> AsyncIterator[Services]:
    """Yield the services of a command that works on what stands in Redis."""
    async with open_backend(settings) as backend, open_services(settings, backend, worker=True) as services:
        yield services


@asynccontextmanager
async def changing(settings: Settings, tool: str, **arguments: Any) -> AsyncIterator[Services]:
    """Yield the same for a command that changes something, told to the audit by the name of its tool."""
    who = {"by": operator(), "face": "command line"}
    async with store(settings) as services:
        with audited(services.audit, tool, arguments, lambda: who, changes=True):
            yield services
