"""Packages from npm that tests use: each folder has its own, locked."""

import asyncio
import shutil
from pathlib import Path


def available(folder: Path) -> bool:
    """Tell whether the packages of a folder are installed or can be."""
    return (folder / "node_modules" / ".package-lock.json").exists() or shutil.which("npm") is not None


async def install(folder: Path) -> None:
    """Install a folder's packages where they are missing or older than their lock; needs npm."""
    mark, lock = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    if mark.exists() and mark.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = await asyncio.create_subprocess_exec("npm", "ci", "--no-audit", "--no-fund", "--silent", cwd=folder)
    if await npm.wait():
        raise RuntimeError("npm ci failed")
    mark.touch()
