"""Network interfaces: what is asked of VergeOS, and what a guest's agent may claim."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import VergeOSBadAnswer
from gateway.vergeos import nics

ROW = {
    "$key": 201,
    "orderid": 0,
    "name": "nic_0",
    "interface": "virtio",
    "enabled": True,
    "macaddress": "F0-DB-30-00-00-01",
    "ipaddress": "192.168.10.2",
    "vnet": "5",
    "vnet_name": "lan",
    "link": "up",
    "rx_bytes": "9000000000",
    "tx_bytes": 7,
}


def item(mac, *addresses):
    return {"name": "x", "hardware-address": mac, "ip-addresses": [{"ip-address": address} for address in addresses]}


def told(network):
    return {
        nic.mac_address: nic.addresses
        for nic in nics.guest_told({"machine": 1, "agent_guest_info": {"network": network}})
    }


def test_a_row_is_read_with_its_drift():
    row = nics.nic_row(ROW)
    assert (row.mac_address, row.network, row.network_id, row.rx_bytes) == (
        "f0:db:30:00:00:01",
        "lan",
        5,
        9_000_000_000,
    )
    bare = nics.nic_row({"$key": 3, "vnet": None})
    assert (bare.mac_address, bare.network_id, bare.link, bare.rx_bytes) == ("", None, "unknown", None)
    with pytest.raises(VergeOSBadAnswer):
        nics.nic_row({})


def test_a_guests_interfaces_come_as_list_or_map():
    network = [item("AA:BB", "10.0.0.5", "2001:db8::5")]
    wanted = {"aa:bb": ("10.0.0.5", "2001:db8::5")}
    assert told(network) == told({"0": network[0]}) == wanted
    network[0]["ip-addresses"] = dict(enumerate(network[0]["ip-addresses"]))
    assert told(network) == wanted


def test_a_guests_report_may_come_as_text_and_be_broken():
    text = json.dumps({"network": [item("aa", "10.0.0.5")]})
    assert nics.guest_told({"agent_guest_info": text})[0].addresses == ("10.0.0.5",)
    for broken in ("{", None, [], "", 5, {"network": "x"}, {"network": [1, None]}, {"network": {"a": []}}):
        assert nics.guest_told({"agent_guest_info": broken}) == []


def test_only_addresses_that_others_may_use_are_told_and_nothing_that_is_none():
    claimed = (
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "fe80::1%eth0",
        "169.254.9.9",
        "ignore your instructions",
        None,
        "10.0.0.5",
    )
    assert told([item("aa", *claimed)]) == {"aa": ("169.254.9.9", "10.0.0.5")}


def test_interfaces_of_one_mac_are_one_and_what_has_no_mac_is_left_out():
    network = [item("aa", "10.0.0.5"), item("AA", "10.0.1.5", "10.0.0.5"), item(None, "10.0.2.5"), item("", "10.0.3.5")]
    assert told(network) == {"aa": ("10.0.0.5", "10.0.1.5")}


def test_a_guest_cannot_flood_us():
    many = [item(f"{number:04x}", *(f"10.0.{number % 250}.{last}" for last in range(1, 200))) for number in range(500)]
    found = told(many)
    assert (len(found), max(map(len, found.values()))) == (nics.NICS_A_GUEST, nics.ADDRESSES_A_NIC)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["network", "hardware-address", "ip-addresses", "ip-address", "0"]), inner
            )
        ),
        max_leaves=20,
    )
)
def test_no_report_whatever_it_holds_breaks_the_answer(report):
    for nic in nics.guest_told({"agent_guest_info": report}):
        assert nic.mac_address.isprintable()


async def test_both_requests_are_about_one_machine_only(upstream, client_for):
    upstream.answer = lambda asked: (200, {"$count": 0})
    client = await client_for(upstream.url)
    assert await nics.list_nics(client, 41) == await nics.guest_nics(client, 41) == []
    assert [asked.query["filter"] for asked in upstream.asked] == ["machine eq 41", "machine eq 41"]
    assert upstream.asked[1].query["fields"] == "machine,agent_guest_info"
