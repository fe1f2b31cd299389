"""Rows of storage tiers and NAS volumes, with all their drift."""

import pytest

from gateway.core.errors import VergeOSBadAnswer
from gateway.vergeos.storage import tiers, volume

GB = 2**30
SYSTEM = {
    "$key": 1,
    "tier": 1,
    "description": "NV\u202eMe",
    "capacity": 1_000 * GB,
    "used": 410 * GB,
    "used_pct": 41,
    "allocated": 500 * GB,
    "dedupe_ratio": 140,
}
PART = {
    "$key": 9,
    "cluster": 1,
    "cluster_name": "main",
    "tier": 1,
    "status": "online",
    "state": "online",
    "capacity": 900 * GB,
    "used": 400 * GB,
    "used_pct": "44",
    "redundant": True,
    "encrypted": 0,
    "repairs": 0,
    "bad_drives": 0,
    "rops": 10,
    "wops": 20,
    "rbps": 30,
    "wbps": 40,
}
VOLUME = {
    "$key": "1" * 40,
    "name": "home's {dir}",
    "description": "",
    "enabled": True,
    "maxsize": 500 * GB,
    "preferred_tier": "3",
    "fs_type": "ext4",
    "read_only": False,
    "nas": "nas-1",
    "mount_status": "mounted",
    "used_bytes": 100 * GB,
}


def test_a_tier_has_the_systems_figures_and_each_clusters_part():
    [tier] = tiers([SYSTEM], [PART])
    assert tier.model_dump() == {
        "tier": 1,
        "description": "NVMe",
        "state": "online",
        "used_percent": 41,
        "used_gb": 410,
        "capacity_gb": 1_000,
        "allocated_gb": 500,
        "dedupe_ratio": 1.4,
        "clusters": (
            {
                "cluster": "main",
                "status": "online",
                "state": "online",
                "capacity_gb": 900,
                "used_gb": 400,
                "used_percent": 44,
                "redundant": True,
                "encrypted": False,
                "repairs": 0,
                "bad_drives": 0,
                "reads_per_second": 10,
                "writes_per_second": 20,
                "read_bytes_per_second": 30,
                "write_bytes_per_second": 40,
            },
        ),
    }


def test_a_clusters_row_without_a_tier_of_the_system_is_a_phantom():
    phantoms = [PART | {"tier": 4}, PART | {"tier": None}, PART | {"tier": 0, "capacity": 0}]
    [tier] = tiers([SYSTEM], [*phantoms, PART])
    assert len(tier.clusters) == 1
    assert tiers([], [PART]) == []


def test_tier_zero_is_a_tier():
    [tier] = tiers([SYSTEM | {"$key": 0, "tier": 0}], [PART | {"tier": "0"}])
    assert (tier.tier, len(tier.clusters)) == (0, 1)


def test_the_key_of_a_tier_is_its_number_where_the_number_is_missing():
    assert tiers([SYSTEM | {"tier": None}], [])[0].tier == 1
    with pytest.raises(VergeOSBadAnswer, match="storage tier"):
        tiers([SYSTEM | {"tier": None, "$key": None}], [])


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((), "unknown"),
        (("online", "warning"), "warning"),
        (("error", "warning", "online"), "error"),
        (("online", "offline"), "offline"),
        (("online", "odd"), "odd"),
        (("online", None), "unknown"),
    ],
)
def test_a_tier_is_as_bad_as_its_worst_cluster(states, worst):
    parts = [PART | {"cluster_name": f"c{position}", "state": state} for position, state in enumerate(states)]
    assert tiers([SYSTEM], parts)[0].state == worst


@pytest.mark.parametrize(
    ("changed", "percent"),
    [
        ({"used_pct": None}, 41.0),
        ({"used_pct": 0}, 0),
        ({"used_pct": "93.5"}, 93.5),
        ({"used_pct": None, "capacity": 0}, None),
        ({"used_pct": None, "used": None}, None),
    ],
)
def test_how_full_a_tier_is_follows_from_its_bytes_where_vergeos_does_not_say_it(changed, percent):
    assert tiers([SYSTEM | changed], [])[0].used_percent == percent


def test_a_volume_keeps_its_long_key_as_a_text():
    assert volume(VOLUME).model_dump() == {
        "id": "1" * 40,
        "name": "home's {dir}",
        "nas": "nas-1",
        "enabled": True,
        "mount_status": "mounted",
        "size_gb": 500,
        "used_gb": 100,
        "tier": 3,
        "fs_type": "ext4",
        "read_only": False,
        "description": "",
    }
    bare = volume({"$key": "ab" * 20})
    assert (bare.mount_status, bare.nas, bare.size_gb, bare.enabled) == ("unknown", None, None, True)
    with pytest.raises(VergeOSBadAnswer, match="volume"):
        volume({"name": "x"})
