"""The calls about clusters and about the platform's own counts, typed, and what their rows mean."""

from collections.abc import Mapping

from gateway.core.cluster import ClusterStatus, Counts, StateCount
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, flag, name, number, required, word

_TOTALS = "total_nodes online_nodes running_machines total_ram online_ram used_ram total_cores online_cores used_cores"
CLUSTER_FIELDS = "$key,name,enabled,status#status as status,status#state as state," + ",".join(
    f"status#{column} as {column}" for column in _TOTALS.split()
)

_KINDS = "machines vnets tenants nodes clusters"
_STATES = "count online warn error"
COUNT_FIELDS = ",".join(
    (
        *(f"{kind}_{state}" for kind in _KINDS.split() for state in _STATES.split()),
        "alarms_count,alarms_warning,alarms_error",
    )
)


async def list_clusters(client: VergeClient) -> list[ClusterStatus]:
    """Return every cluster with its totals; one request (VergeOS API notes 3.13)."""
    return [cluster_status(row) for row in await client.rows("clusters", fields=CLUSTER_FIELDS, sort="+name")]


async def get_counts(client: VergeClient) -> Counts:
    """Return the platform's own counts; one small request (VergeOS API notes 3.19)."""
    found = await client.rows("dashboard", fields=COUNT_FIELDS, limit=1)
    return counts(found[0] if found else {})


def cluster_status(row: Row) -> ClusterStatus:
    """Return a cluster; raises VergeOSBadAnswer if the row has no key."""
    online, used = number(row, "online_ram"), number(row, "used_ram")
    return ClusterStatus(
        id=required(row, "$key"),
        name=name(row, "name") or "",
        status=word(row, "status") or "unknown",
        state=word(row, "state") or "unknown",
        enabled=flag(row, "enabled", missing=True),
        nodes_total=number(row, "total_nodes"),
        nodes_online=number(row, "online_nodes"),
        machines_running=number(row, "running_machines"),
        cores_total=number(row, "total_cores"),
        cores_online=number(row, "online_cores"),
        cores_used=number(row, "used_cores"),
        ram_total_mb=number(row, "total_ram"),
        ram_online_mb=online,
        ram_used_mb=used,
        ram_used_percent=round(100 * used / online, 1) if online and used is not None else None,
    )


def counts(row: Row) -> Counts:
    """Return the counts of a dashboard, of which any may be missing."""
    return Counts(
        machines=_states(row, "machines"),
        networks=_states(row, "vnets"),
        tenants=_states(row, "tenants"),
        nodes=_states(row, "nodes"),
        clusters=_states(row, "clusters"),
        alarms=_count(row, "alarms_count"),
        alarms_warning=_count(row, "alarms_warning"),
        alarms_error=_count(row, "alarms_error"),
    )


def _states(row: Row, kind: str) -> StateCount:
    return StateCount(
        total=_count(row, f"{kind}_count"),
        online=_count(row, f"{kind}_online"),
        warning=_count(row, f"{kind}_warn"),
        error=_count(row, f"{kind}_error"),
    )


def _count(row: Row, field: str) -> int | None:
    """Return a count, which comes as a number or as `{"$count": n}`."""
    told = row.get(field)
    return number(told, "$count") if isinstance(told, Mapping) else number(row, field)
