"""docker-compose.yml: valid, closed to the outside, and its demo never speaks to a real VergeOS."""

import json

import pytest

from gateway.settings import SIMULATED, Settings
from gateway.simulator import SimulatorSettings
from tests.deploy.programs import ROOT, program, run

PROFILES = ("--profile", "demo", "--profile", "vergeos")
REAL = {"VERGEOS_HOST": "verge.example.com", "VERGEOS_API_KEY": "a-real-key", "REDIS_PASSWORD": "a-real-password"}


@pytest.fixture(scope="module")
def services():
    compose = program("docker-compose")
    return json.loads(run(compose, *PROFILES, "config", "--format", "json", **REAL, PATH="/usr/bin:/bin"))["services"]


@pytest.mark.slow
def test_it_follows_the_compose_specification():
    run(program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_each_profile_is_a_whole_system(services):
    for profile, suffix in (("vergeos", ""), ("demo", "-demo")):
        in_it = {name for name, service in services.items() if profile in service["profiles"]}
        ours = {f"{name}{suffix}" for name in ("gateway", "worker", "redis")}
        assert ours | {"prometheus", "grafana"} <= in_it


def test_the_demo_speaks_to_the_simulator_whatever_the_environment_says(services):
    for name, service in services.items():
        told = service.get("environment", {})
        if "demo" in service["profiles"]:
            assert not set(REAL.values()) & set(told.values())
        if name in {"gateway-demo", "worker-demo"}:
            assert (told["VERGEOS_SITE"], told["VERGEOS_API_KEY"]) == (SIMULATED, SimulatorSettings().api_key)
            assert told["VERGEOS_HOST"] == "http://simulator:8006"


def test_only_the_demo_is_open_to_anybody(services):
    opened = {name for name, service in services.items() if "ALLOW_ANONYMOUS" in service.get("environment", {})}
    assert opened == {"gateway-demo", "worker-demo"}


def test_ports_are_on_loopback_and_redis_has_none(services):
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}
    assert published.keys() == {"gateway", "gateway-demo", "prometheus", "grafana"}


def test_containers_hold_no_more_rights_and_room_than_they_need(services):
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) <= 512 << 20, name
        assert service["pids_limit"] <= 200, name


def test_what_needs_another_waits_until_it_is_healthy(services):
    for name in ("gateway", "worker", "gateway-demo", "worker-demo", "grafana"):
        assert {need["condition"] for need in services[name]["depends_on"].values()} == {"service_healthy"}, name
    image = (ROOT / "Dockerfile").read_text()
    for name, service in services.items():
        assert "healthcheck" in service or ("build" in service and "\nHEALTHCHECK " in image), name


def test_every_setting_that_it_gives_exists(services):
    known = {name.upper() for name in Settings.model_fields}
    for name in ("gateway", "worker", "gateway-demo", "worker-demo"):
        assert services[name]["environment"].keys() <= known, name
