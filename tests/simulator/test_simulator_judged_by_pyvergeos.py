"""The official SDK, pyvergeos, uses the simulator as it would a VergeOS: over HTTPS, with its own calls.

Left out is what VergeOS API notes 6.3 call wrong (`VM.restore`, `VMSnapshot.restore`), what they leave open
(`apply_dns`, filters on joined columns and on columns that a table lacks, as `networks.list_stopped` sends), and empty
lists, of which the SDK makes a phantom row.
"""

import asyncio
import datetime
import ipaddress
import ssl
import time

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyvergeos import VergeClient
from pyvergeos.exceptions import AuthenticationError, ConflictError, NotFoundError, ValidationError

GIB = 2**30
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Path of a self-signed certificate for 127.0.0.1, and an SSL context that serves it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated vergeos")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate_path, key_path = folder / "cert.pem", folder / "key.pem"
    certificate_path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_path.write_bytes(key.private_bytes(pem, pkcs8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    return certificate_path, context


@pytest.fixture
async def sdk(start, certificate):
    """Runs a story with a connected SDK client in a thread of its own, for the SDK blocks."""
    path, context = certificate
    api = await start(ssl_context=context, time_scale=10.0)
    host = api.sim.url.removeprefix("https://")

    def told(story, credentials):
        with requests.Session() as session:
            session.verify = str(path)
            session.trust_env = False  # a CA bundle or proxy in the environment would win over `verify`
            client = VergeClient(host, session=session, **credentials)
            try:
                return story(client)
            finally:
                client.disconnect()

    async def run(story, **credentials):
        return await asyncio.to_thread(told, story, credentials or {"token": "demo"})

    run.sim = api.sim
    return run


def wait_for(condition):
    ends = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends, "the condition never held"
        time.sleep(0.01)


async def test_it_connects_by_key_and_by_password_and_is_refused_otherwise(sdk):
    def story(client):
        return client.cloud_name, client.version

    assert await sdk(story) == ("sim-cloud", "26.1.8")
    assert await sdk(story, username="admin", password="demo") == ("sim-cloud", "26.1.8")
    with pytest.raises(AuthenticationError):
        await sdk(story, token="wrong")
    with pytest.raises(AuthenticationError):
        await sdk(story, username="admin", password="demo-key")


async def test_it_lists_and_gets_vms(sdk):
    def story(client):
        vms = client.vms.list()
        running = client.vms.list_running()
        assert len(vms) == 40
        assert 0 < len(running) < 40
        assert not any(vm.is_snapshot for vm in vms)
        assert len(client.vms.list(include_snapshots=True)) > 40
        vm = client.vms.get(34)
        assert (vm.name, vm.is_running, vm.status, vm.cluster_name, vm.machine_key) == (
            "web-1",
            True,
            "running",
            "main",
            41,
        )
        assert vm.node_name.startswith("node")
        assert client.vms.get(name="web-1", fields="all").is_running
        assert [each.key for each in client.vms.iter_all(page_size=7)] == [each.key for each in vms]
        with pytest.raises(NotFoundError):
            client.vms.get(99999)

    await sdk(story)


async def test_it_finds_vms_with_hostile_names(sdk):
    def story(client):
        vms = client.vms.list()
        for vm in vms:
            assert [each.key for each in client.vms.list(name=vm.name)] == [vm.key]
        assert {"zzzz' or key ne 'zzzz", "o'brien's {$now} \\ \"box\"", "35"} <= {vm.name for vm in vms}
        assert [vm.name for vm in client.vms.list(name="test-*")] == ["test-vm"]

    await sdk(story)


async def test_it_powers_vms(sdk):
    def story(client):
        vm = client.vms.get(34)
        vm.power_off()
        wait_for(lambda: not client.vms.get(34).is_running)
        vm.power_on()
        wait_for(lambda: client.vms.get(34).is_running)
        with pytest.raises(ValidationError, match="already running"):
            vm.power_on()
        vm.reset()
        vm.power_off(force=True)
        wait_for(lambda: client.vms.get(34).status == "stopped")
        vm.power_on(preferred_node=1)
        wait_for(lambda: client.vms.get(34).is_running)
        assert client.vms.get(34).node_name == "node1"
        vm.migrate(preferred_node=2)
        wait_for(lambda: client.vms.get(34).node_name == "node2")
        status = vm.machine_status.get()
        assert (status.is_running, status.node_name) == (True, "node2")
        vm.guest_reboot()
        vm.hibernate()
        wait_for(lambda: client.vms.get(34).status == "hibernated")

    await sdk(story)
    assert sdk.sim.power_actions(34)[:4] == ["poweroff", "poweron", "poweron", "reset"]
    assert sdk.sim.actions[0].user == "admin"


async def test_it_creates_changes_clones_and_deletes_vms(sdk):
    def story(client):
        vm = client.vms.create(name="made by sdk", ram=1000, cpu_cores=2, machine_type="q35")
        assert (vm["ram"], vm["cpu_cores"], vm["machine_type"], vm.is_running) == (1024, 2, "pc-q35-10.0", False)
        assert client.vms.update(vm.key, cpu_cores=4) is not None
        assert client.vms.get(vm.key)["cpu_cores"] == 4
        with pytest.raises(ConflictError):
            client.vms.create(name="made by sdk")
        with pytest.raises(ValidationError):
            client.vms.update(vm.key, cpu_cores=5000)
        clone = vm.clone(name="clone by sdk")
        assert client.vms.get(name="clone by sdk").key == int(clone["response"]["vmkey"])
        client.vms.delete(vm.key)
        with pytest.raises(NotFoundError):
            client.vms.get(vm.key)
        with pytest.raises(ValidationError, match="must be stopped"):
            client.vms.delete(34)

    await sdk(story)


async def test_it_lists_creates_grows_plugs_and_deletes_drives(sdk):
    def story(client):
        vm = client.vms.get(34)
        drives = vm.drives.list()
        assert [(drive.name, drive["status"], drive.interface_display) for drive in drives] == [
            ("os", "online", "Virtio-SCSI"),
            ("data", "online", "Virtio-SCSI"),
        ]
        drive = vm.drives.create(size_gb=5, name="more", tier=1)
        assert (drive.size_gb, drive["preferred_tier"], drive["status"]) == (5.0, "1", "offline")
        vm.drives.update(drive.key, disksize=6 * GIB)
        assert vm.drives.get(drive.key).size_gb == 6.0
        with pytest.raises(ValidationError):
            vm.drives.update(drive.key, disksize=4 * GIB)
        vm.drives.delete(drive.key)
        vm.hotplug_drive(name="hot", size=3 * GIB)
        wait_for(lambda: vm.drives.get(name="hot")["status"] == "online")
        assert drives[0].drive_stats.get()["reads"] > 0
        with pytest.raises(NotFoundError):
            client.vms.get(30).drives.get(drives[0].key)

    await sdk(story)


async def test_it_lists_creates_and_deletes_nics(sdk):
    def story(client):
        vm = client.vms.get(34)
        nics = vm.nics.list()
        assert [nic.network_name for nic in nics] == ["Internal", "web-1"]
        assert nics[0].rx_bytes > 0
        assert nics[0]["status"] == "up"
        assert nics[0].nic_stats.get()["rx_bytes"] > 0
        nic = vm.nics.create(network="Internal", name="third")
        assert nic.network_name == "Internal"
        vm.nics.update(nic.key, description="new")
        assert vm.nics.get(nic.key)["description"] == "new"
        vm.nics.delete(nic.key)
        assert len(vm.nics.list()) == 2

    await sdk(story)


async def test_it_takes_lists_restores_and_deletes_snapshots(sdk):
    def story(client):
        vm = client.vms.get(name="test-vm")
        receipt = vm.snapshots.create(name="by sdk", retention=3600, description="d", quiesce=True)
        snapshot = vm.snapshots.get(int(receipt["$key"]))
        assert (snapshot.never_expires, snapshot.is_manual, snapshot["machine"]) == (False, True, vm.machine_key)
        assert snapshot.snap_machine_key != vm.machine_key
        vm.snapshots.create(name="for ever", retention=0)
        assert vm.snapshots.get(name="for ever").never_expires
        client.vms.update(vm.key, cpu_cores=5)
        vm.snapshots.restore(snapshot.key, replace_original=True)
        wait_for(lambda: client.vms.get(vm.key)["cpu_cores"] == 2)
        vm.snapshots.restore(snapshot.key, name="restored beside")
        assert client.vms.get(name="restored beside")["cpu_cores"] == 2
        vm.snapshots.delete(snapshot.key)
        wait_for(lambda: "by sdk" not in [each.get("name") for each in vm.snapshots.list()])
        with pytest.raises(NotFoundError):
            client.vms.get(34).snapshots.get(vm.snapshots.get(name="for ever").key)

    await sdk(story)


async def test_it_reads_and_works_networks_and_their_rules(sdk):
    def story(client):
        assert len(client.networks.list()) == 8
        assert [each.name for each in client.networks.list_external()] == ["External"]
        assert not client.networks.get(name="lab (off)").is_running
        network = client.networks.get(name="Internal")
        assert (network.is_running, network.status, network.needs_rule_apply) == (True, "running", False)
        rule = network.rules.create(name="https", protocol="tcp", destination_ports="443", action="accept")
        assert client.networks.get(network.key).needs_rule_apply
        rule.disable()
        assert not network.rules.get(name="https").is_enabled
        network.apply_rules()
        wait_for(lambda: not client.networks.get(network.key).needs_rule_apply)
        network.rules.delete(rule.key)
        network.restart()
        wait_for(lambda: client.networks.get(network.key).is_running)
        network.power_off(force=True)
        wait_for(lambda: not client.networks.get(network.key).is_running)
        network.power_on()
        wait_for(lambda: client.networks.get(network.key).is_running)

    await sdk(story)
    done = [action.action for action in sdk.sim.actions if action.table == "vnet_actions"]
    assert done == ["refresh", "reset", "kill", "poweron"]


async def test_it_creates_and_deletes_networks(sdk):
    def story(client):
        network = client.networks.create(name="by sdk", network_address="10.9.0.0/24", ip_address="10.9.0.1")
        assert (network["network"], network.is_running) == ("10.9.0.0/24", False)
        client.networks.delete(network.key)
        with pytest.raises(NotFoundError):
            client.networks.get(network.key)

    await sdk(story)


async def test_it_reads_and_powers_tenants(sdk):
    def story(client):
        tenants = client.tenants.list()
        assert len(tenants) == 4
        assert {tenant.name for tenant in client.tenants.list_stopped()} == {"globex"}
        tenant = client.tenants.get(1)
        assert (tenant.is_running, tenant.status, tenant.network_name) == (True, "running", "External")
        assert tenant.ui_address_ip == "203.0.113.21"
        assert [node.ram_gb for node in tenant.nodes.list()] == [16.0, 16.0]
        assert tenant.nodes.list()[0].is_running
        assert [storage.tier for storage in tenant.storage.list()] == [1, 3]
        tenant.power_off()
        wait_for(lambda: client.tenants.get(1).status == "stopped")
        tenant.power_on()
        wait_for(lambda: client.tenants.get(1).is_running)
        tenant.reset()
        wait_for(lambda: client.tenants.get(1).status == "stopping")
        wait_for(lambda: client.tenants.get(1).is_running)
        tenant.enable_isolation()
        assert client.tenants.get(1).is_isolated

    await sdk(story)


async def test_it_reads_nodes_their_load_and_puts_them_into_maintenance(sdk):
    def story(client):
        nodes = client.nodes.list()
        assert len(nodes) == 5
        node = client.nodes.get(name="node1")
        assert (node.is_maintenance, node.cluster_name, node.is_physical) == (False, "main", True)
        assert node.ram_mb > node.vm_ram_mb > 0
        stats = node.stats.get()
        assert stats.total_cpu > 0
        assert len(node.stats.history_short(limit=10)) == 10
        assert node.machine_status.get().is_running
        assert len(node.nics.list()) == 2
        assert client.nodes.enable_maintenance(5).is_maintenance
        wait_for(lambda: client.nodes.get(5).status == "Maintenance")
        assert not client.nodes.disable_maintenance(5).needs_restart
        wait_for(lambda: not client.nodes.get(5).is_maintenance)

    await sdk(story)


async def test_it_reads_clusters_tiers_and_nas(sdk):
    def story(client):
        cluster = client.clusters.get(name="main")
        assert cluster.online_nodes == cluster.total_nodes == 3
        assert 0 < cluster["used_ram"] < cluster["online_ram"]
        assert [status.health_status for status in client.clusters.vsan_status()]
        tiers = client.storage_tiers.list()
        assert [tier.tier for tier in tiers] == [1, 3, 5]
        assert tiers[0]["stats"]["rops"] >= 0
        rows = cluster.tiers.list()
        assert [row.tier for row in rows] == [1, 3, 5]
        assert rows[2].used_percent > 90
        [service] = client.nas_services.list()
        assert (service.name, service.volume_count) == ("nas-1", 3)
        volumes = client.nas_volumes.list()
        assert {len(str(volume.key)) for volume in volumes} == {40}
        assert client.nas_volumes.get(volumes[0].key).name == volumes[0].name

    await sdk(story)


async def test_it_reads_logs(sdk):
    def story(client):
        client.vms.get(34).power_off()
        lines = client.logs.list(object_type="VM", text="poweroff", limit=5)
        assert (lines[0].object_name, lines[0].user) == ("web-1", "admin")
        age = datetime.datetime.now(datetime.UTC) - lines[0].created_at
        assert abs(age.total_seconds()) < 60
        assert {line.level for line in client.logs.list_errors()} == {"error", "critical"}
        since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        assert len(client.logs.list(since=since)) == 1
        assert client.vms.get(34).machine_logs.list(limit=1)[0]["text"] == "'poweroff' was requested"

    await sdk(story)


async def test_it_reads_snoozes_and_resolves_alarms(sdk):
    def story(client):
        alarms = client.alarms.list()
        summary = client.alarms.get_summary()
        assert (len(alarms), summary["active"], summary["snoozed"]) == (5, 5, 1)
        assert {alarm.level for alarm in client.alarms.list_critical()} == {"critical"}
        alarm = next(each for each in alarms if each.is_resolvable)
        assert alarm.alarm_type_name
        assert alarm.snooze(hours=2).is_snoozed
        assert not client.alarms.unsnooze(alarm.key).is_snoozed
        alarm.resolve()
        assert alarm.key not in [each.key for each in client.alarms.list()]
        assert client.alarms.list_history()[0].level

    await sdk(story)


async def test_it_reads_the_dashboard_settings_tags_files_and_users(sdk):
    def story(client):
        statistics = client.system.statistics()
        assert (statistics.vms_total, statistics.alarms_total) == (40, 5)
        setting = client.system.settings.get("cloud_name")
        assert setting["value"] == "sim-cloud"
        client.system.settings.update("cloud_name", "renamed")
        assert client.system.settings.get("cloud_name")["value"] == "renamed"
        tag = client.tags.get(name="production")
        assert tag.category_name == "environment"
        assert len(tag.members.list()) == 3
        tag.members.add_vm(client.vms.get(name="test-vm").key)
        assert len(tag.members.list()) == 4
        assert "debian-12.iso" in [file.name for file in client.files.list()]
        assert {"admin", "viewer"} <= {user.name for user in client.users.list()}

    await sdk(story)


async def test_the_sdk_learns_of_a_server_error(sdk):
    sdk.sim.fault("status", path="vms/34", status=422)
    with pytest.raises(ValidationError):
        await sdk(lambda client: client.vms.get(34))
