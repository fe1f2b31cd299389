"""schemathesis reads /openapi.json and calls every operation with what it makes up: no 5xx, every answer fits."""

import asyncio
from collections import defaultdict

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from gateway.transports.auth import OPEN
from tests.journeys.inprocess import house
from tests.transports.test_sight import key, require_nothing_hidden

EXAMPLES = 12
STREAMS = {"/jobs/{id}/events"}  # do not end while their job goes on
QUIET = {"mcp_wait_seconds": 0.0, "auth_failures_per_minute": 0}
REFUSALS = {400, 401, 404, 405}  # what the server itself cannot read has no caller yet
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


def call_every_operation(url, headers=None, checks=CHECKS, told=None):
    """Return the operations that were called; a failed check is raised with the request that shows it.

    `told` hears of every answer.
    """
    schema, called = schemathesis.openapi.from_url(f"{url}/openapi.json"), []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in STREAMS:
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case):
            response = case.call_and_validate(checks=checks, timeout=20, headers=headers)
            if told is not None:
                told(case.operation.label, response)

        call()
        called.append(f"{operation.method.upper()} {operation.path}")
    return called


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")  # of the tool and its libraries
async def test_whatever_is_sent_is_answered_as_the_document_says(sim, settings):
    async with house(sim, settings.model_copy(update={"mcp_wait_seconds": 0.0}), workers=1) as built:
        called = await asyncio.to_thread(call_every_operation, built.url)
    assert len(called) >= 40


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")  # of the tool and its libraries
async def test_a_caller_with_selectors_hears_of_nothing_hidden_whatever_he_sends(sim, settings):
    async with house(sim, settings.model_copy(update=QUIET), workers=0) as built:
        headers = await key(built, "eve", "viewer", select=("name=app-*|mail-1",))

        def told(operation, response):
            if not response.request.url.endswith("/openapi.json"):
                require_nothing_hidden(response.text, operation)

        called = await asyncio.to_thread(call_every_operation, built.url, headers, [not_a_server_error], told)
    assert len(called) >= 40


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")  # of the tool and its libraries
async def test_nobody_is_answered_401_whatever_he_sends_and_vergeos_is_not_asked(sim, settings):
    async with house(sim, settings.model_copy(update=QUIET), workers=0) as built:
        await key(built, "eve", "viewer")
        sim.reset_counts()
        statuses = defaultdict(set)

        def told(operation, response):
            statuses[operation].add(response.status_code)

        await asyncio.to_thread(call_every_operation, built.url, None, [not_a_server_error], told)
        assert not sim.requests
    assert len(statuses) >= 40
    entered = {operation: found for operation, found in statuses.items() if not found <= REFUSALS}
    assert set(entered) <= {f"GET {path}" for path in OPEN}
