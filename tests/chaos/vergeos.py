"""The simulated VergeOS of a chaos run, a process of its own: each action tells for whom it was sent."""

import argparse
import asyncio

from gateway.simulator import SimulatorSettings, serve
from gateway.simulator.api import Answer, Api, ApiRequest
from gateway.simulator.auth import Account, Accounts
from gateway.simulator.world import World
from tests.chaos.evidence import MARK_HEADER, PERSON

PERSON_KEY = "person"


class MarkedApi(Api):
    """Notes at each action the job and the act's label, as our workers send them in a header, in place of the user."""

    def answer(self, request: ApiRequest) -> Answer:
        self.db.clock.settle()  # what was due meanwhile is carried out for others
        before = len(self.world.journal.actions)
        answer = super().answer(request)
        for action in self.world.journal.actions[before:]:
            action.user = request.headers.get(MARK_HEADER, action.user)
        return answer


def with_person(accounts: Accounts) -> None:
    """Add the account of people who work in VergeOS' own UI; it is not revoked with the gateway's."""
    person = accounts.add(Account(PERSON, PERSON, {PERSON_KEY}))
    known = accounts.who

    def who(headers, cookies):
        return person if headers.get("Authorization") == f"Bearer {PERSON_KEY}" else known(headers, cookies)

    accounts.who = who


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vms", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--scale", type=float, required=True)
    options = parser.parse_args()
    from gateway.simulator import server, simulator

    def build(settings: SimulatorSettings) -> World:
        world = built(settings)
        with_person(world.accounts)
        return world

    built, simulator.build_world, server.Api = simulator.build_world, build, MarkedApi
    settings = SimulatorSettings(vms=options.vms, seed=7, port=options.port, time_scale=options.scale)
    asyncio.run(serve(settings, lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
