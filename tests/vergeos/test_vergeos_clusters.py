"""Rows of clusters and the platform's own counts, with all their drift."""

import pytest

from gateway.core.errors import VergeOSBadAnswer
from gateway.vergeos.clusters import cluster_status, counts

ROW = {
    "$key": "1",
    "name": "ma\u202ein",
    "enabled": True,
    "status": "reduced",
    "state": "warning",
    "total_nodes": 3,
    "online_nodes": "2",
    "running_machines": 40,
    "total_ram": 786_432,
    "online_ram": 500_000,
    "used_ram": 125_000,
    "total_cores": 96,
    "online_cores": 64,
    "used_cores": 30,
}


def test_a_cluster_has_names_totals_and_how_full_its_ram_is():
    assert cluster_status(ROW).model_dump() == {
        "id": 1,
        "name": "main",
        "status": "reduced",
        "state": "warning",
        "enabled": True,
        "nodes_total": 3,
        "nodes_online": 2,
        "machines_running": 40,
        "cores_total": 96,
        "cores_online": 64,
        "cores_used": 30,
        "ram_total_mb": 786_432,
        "ram_online_mb": 500_000,
        "ram_used_mb": 125_000,
        "ram_used_percent": 25.0,
    }


@pytest.mark.parametrize("changed", [{"online_ram": 0}, {"online_ram": None}, {"used_ram": None}])
def test_without_ram_online_nothing_is_said_of_its_use(changed):
    assert cluster_status(ROW | changed).ram_used_percent is None


def test_a_cluster_without_its_status_is_unknown_rather_than_healthy():
    bare = cluster_status({"$key": 2, "name": "edge"})
    assert (bare.status, bare.state, bare.nodes_total) == ("unknown", "unknown", None)
    with pytest.raises(VergeOSBadAnswer):
        cluster_status({"name": "edge"})


def test_counts_come_as_numbers_texts_or_objects():
    told = {
        "machines_count": 40,
        "machines_online": "31",
        "machines_warn": {"$count": 2},
        "machines_error": {"$count": "1"},
        "vnets_count": {"instances_total": 4},
        "alarms_count": {"$count": 0},
        "alarms_error": None,
    }
    found = counts(told)
    assert found.machines.model_dump() == {"total": 40, "online": 31, "warning": 2, "error": 1}
    assert (found.networks.total, found.alarms, found.alarms_error) == (None, 0, None)
    assert set(counts({}).nodes.model_dump().values()) == {None}
