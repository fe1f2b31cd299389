"""What the processes really open and reach is what the network policies let in and out."""

import psutil
import pytest

from tests.conftest import eventually, free_port
from tests.deploy.programs import ROOT, documents
from tests.journeys.conftest import *  # noqa: F403  its fixtures: processes on a simulated VergeOS

pytestmark = pytest.mark.slow
SETTINGS = {"gateway": {"http": "PORT", "metrics": "METRICS_PORT"}, "worker": {"metrics": "WORKER_METRICS_PORT"}}


def named_ports(part):
    """The names of the ports that a pod of the base declares, which the policies are held to."""
    deployment = next(
        it for it in documents((ROOT / f"k8s/base/{part}.yaml").read_text()) if it["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {port["name"] for port in container["ports"]}


def connections(process):
    return psutil.Process(process.popen.pid).net_connections("inet")


def opened(process):
    return {each.laddr.port for each in connections(process) if each.status == psutil.CONN_LISTEN}


def reached(process, of_its_own):
    """Ports that it connected to; `of_its_own` are those at which it answers others."""
    return {each.raddr.port for each in connections(process) if each.raddr and each.laddr.port not in of_its_own}


async def test_processes_open_and_reach_what_the_policies_name_and_nothing_else(system):
    ports = {part: {name: free_port() for name in SETTINGS[part]} for part in SETTINGS}
    told = {SETTINGS[part][name]: str(port) for part, named in ports.items() for name, port in named.items()}
    system.port, system.url = ports["gateway"]["http"], f"http://127.0.0.1:{ports['gateway']['http']}"
    processes = {"gateway": await system.gateway(**told), "worker": await system.worker(**told)}
    await eventually(lambda: opened(processes["worker"]))
    status, job = await system.call("POST", "/vms/web-1/poweroff", {"wait_timeout": 30, "force_after_timeout": True})
    assert status == 202
    assert (await system.ended(job["id"]))["state"] == "completed"
    redis, vergeos = (
        int(system.environment[name].rpartition(":")[2].split("/")[0]) for name in ("REDIS_URL", "VERGEOS_HOST")
    )
    for part, process in processes.items():
        assert named_ports(part) == ports[part].keys(), part
        assert opened(process) == set(ports[part].values()), part
        assert reached(process, opened(process)) <= {redis, vergeos}, part
