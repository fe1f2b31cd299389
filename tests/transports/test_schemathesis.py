"""schemathesis reads /openapi.json and calls every operation with what it makes up: no 5xx, every answer fits."""

import asyncio

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.journeys.inprocess import house

EXAMPLES = 12
STREAMS = {"/jobs/{id}/events"}  # do not end while their job goes on
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


def call_every_operation(url):
    """Return the operations that were called; a failed check is raised with the request that shows it."""
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
            case.call_and_validate(checks=CHECKS, timeout=20)

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
