"""The calls about storage tiers and NAS volumes, typed, and what their rows mean."""

import asyncio
from collections.abc import Iterable
from typing import Final

from gateway.core.cluster import ClusterTier, Tier, Volume
from gateway.core.drive import GB_BYTES
from gateway.core.errors import VergeOSBadAnswer
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, decimal, flag, name, number, text, word
from gateway.vergeos.filters import eq

_TIER_STATUS = "status state capacity used used_pct redundant encrypted repairs bad_drives"
CLUSTER_TIER_FIELDS = ",".join(
    (
        "$key,cluster,cluster#name as cluster_name,tier",
        *(f"status#{column} as {column}" for column in _TIER_STATUS.split()),
        *(f"stats#{column} as {column}" for column in ["rops", "wops", "rbps", "wbps"]),
    )
)
STORAGE_TIER_FIELDS = "$key,tier,description,capacity,used,used_pct,allocated,dedupe_ratio"
VOLUME_FIELDS = (
    "$key,name,description,enabled,maxsize,preferred_tier,fs_type,read_only,service#$display as nas,"
    "status#status as mount_status,drive#media_source#used_bytes as used_bytes"
)
_WORSE: Final = ("online", "warning", "error", "offline")


async def list_tiers(client: VergeClient) -> list[Tier]:
    """Return every storage tier with what each cluster has of it; two requests at once (VergeOS API notes 3.13).

    A cluster's row of a tier that the system does not have is a phantom, and is left out.
    """
    system, clusters = await asyncio.gather(
        client.rows("storage_tiers", fields=STORAGE_TIER_FIELDS),
        client.rows("cluster_tiers", fields=CLUSTER_TIER_FIELDS),
    )
    return tiers(system, clusters)


async def list_volumes(client: VergeClient) -> list[Volume]:
    """Return every NAS volume but snapshots, by name; one request per 1,000 (VergeOS API notes 3.14)."""
    found: dict[str, Volume] = {}
    not_snapshots = eq("is_snapshot", False)
    async for page in client.all_rows("volumes", fields=VOLUME_FIELDS, filter=not_snapshots, sort="+name"):
        found.update((row.id, row) for row in map(volume, page))
    return list(found.values())


def tiers(system: Iterable[Row], clusters: Iterable[Row]) -> list[Tier]:
    """Return the system's tiers, each with the clusters' rows of its number; raises VergeOSBadAnswer."""
    parts: dict[int, list[ClusterTier]] = {}
    for row in clusters:
        tier = number(row, "tier")
        if tier is not None:
            parts.setdefault(tier, []).append(_cluster_tier(row))
    return [_tier(row, parts) for row in system]


def volume(row: Row) -> Volume:
    """Return a NAS volume; raises VergeOSBadAnswer if the row has no key."""
    key = word(row, "$key")
    if not key:
        raise VergeOSBadAnswer("a NAS volume of VergeOS lacks its key")
    return Volume(
        id=key,
        name=name(row, "name") or "",
        nas=name(row, "nas"),
        enabled=flag(row, "enabled", missing=True),
        mount_status=word(row, "mount_status") or "unknown",
        size_gb=_gb(row, "maxsize"),
        used_gb=_gb(row, "used_bytes"),
        tier=number(row, "preferred_tier"),
        fs_type=word(row, "fs_type"),
        read_only=flag(row, "read_only"),
        description=text(row, "description"),
    )


def _tier(row: Row, parts: dict[int, list[ClusterTier]]) -> Tier:
    tier = number(row, "tier")
    if tier is None:
        tier = number(row, "$key")  # the same number (VergeOS API notes 3.13)
    if tier is None:
        raise VergeOSBadAnswer("a storage tier of VergeOS lacks its number")
    clusters = sorted(parts.get(tier, ()), key=lambda part: part.cluster or "")
    ratio = decimal(row, "dedupe_ratio")
    return Tier(
        tier=tier,
        description=text(row, "description"),
        state=max((part.state for part in clusters), key=_gravity, default="unknown"),
        used_percent=_used_percent(row),
        used_gb=_gb(row, "used"),
        capacity_gb=_gb(row, "capacity"),
        allocated_gb=_gb(row, "allocated"),
        dedupe_ratio=None if ratio is None else ratio / 100,  # VergeOS counts hundredths
        clusters=tuple(clusters),
    )


def _cluster_tier(row: Row) -> ClusterTier:
    return ClusterTier(
        cluster=name(row, "cluster_name"),
        status=word(row, "status") or "unknown",
        state=word(row, "state") or "unknown",
        capacity_gb=_gb(row, "capacity"),
        used_gb=_gb(row, "used"),
        used_percent=_used_percent(row),
        redundant=flag(row, "redundant"),
        encrypted=flag(row, "encrypted"),
        repairs=number(row, "repairs"),
        bad_drives=number(row, "bad_drives"),
        reads_per_second=number(row, "rops"),
        writes_per_second=number(row, "wops"),
        read_bytes_per_second=number(row, "rbps"),
        write_bytes_per_second=number(row, "wbps"),
    )


def _gravity(state: str) -> int:
    """Return how bad a state is; one that we do not know is worth a look, like a warning."""
    return _WORSE.index(state) if state in _WORSE else 1


def _used_percent(row: Row) -> float | None:
    """Return how full something is as VergeOS says it, else as its bytes say it."""
    told, used, capacity = decimal(row, "used_pct"), number(row, "used"), number(row, "capacity")
    return round(100 * used / capacity, 1) if told is None and used is not None and capacity else told


def _gb(row: Row, field: str) -> float | None:
    size_bytes = number(row, field)
    return None if size_bytes is None else round(size_bytes / GB_BYTES, 1)
