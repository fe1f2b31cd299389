"""The command line. What a command needs is imported when it is run, so that the bridge starts at once."""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from gateway import __version__, access_arguments, client_config, jobs_command
from gateway.core.errors import GatewayError

Run = Callable[[argparse.Namespace], int | None]

WRONG_USAGE = frozenset({"wrong_settings", "cannot_bridge"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 failed, 2 wrong usage or settings; `jobs` tells its own."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
    except GatewayError as exc:
        print(f"vergeos-gateway: {exc.detail}\n  {exc.next_step}", file=sys.stderr)
        return 2 if exc.code in WRONG_USAGE else 1
    except KeyboardInterrupt:
        return 130
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("vergeos-gateway", description="One MCP and REST endpoint for VergeOS.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(name: str, words: str, run: Run = _run_process) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words)
        added.set_defaults(run=run)
        return added

    add("demo", "everything on this machine against a simulated VergeOS; its data is thrown away")
    add("up", "embedded Redis, worker and gateway on this machine, for a real VergeOS")
    add("serve", "the gateway alone; needs REDIS_URL and a worker")
    add("worker", "a worker alone; needs REDIS_URL")
    add("stdio", "MCP over standard input and output for one client on this machine")
    add("bridge", "MCP over standard input and output, relayed to the gateway at VERGEOS_MCP_URL", _bridge)
    simulated = add("simulator", "a simulated VergeOS alone")
    simulated.add_argument("--vms", type=int, default=40)
    simulated.add_argument("--seed", type=int, default=7)
    simulated.add_argument("--port", type=int, default=8006)
    simulated.add_argument("--host", default="127.0.0.1")
    check = add("doctor", "check Redis, VergeOS and the credentials, and say what to mend")
    check.add_argument("--try-credentials", action="store_true", help="try refused credentials once more")
    check.add_argument("--tools", action="store_true", help="try every read once, and name those that would fail")
    stop = add("freeze", "stop all changes on all replicas; reads go on")
    stop.add_argument("--why", required=True, help="told to everybody whose change is refused")
    stop.add_argument("--until", type=datetime.fromisoformat, help="its end, e.g. 2027-01-31T18:00 (UTC)")
    add("unfreeze", "let changes go on")
    leave = add("offboard", "take back all that somebody has: keys, sessions, streams, VergeOS key, open jobs")
    leave.add_argument("name", help="a person, or the name of a key")
    leave.add_argument("--undo", action="store_true", help="let the person in again; new keys are made with `keys`")
    enroll = add("enroll", "have your changes made with your own VergeOS key", _enroll)
    enroll.add_argument("--user", default="", help="the VergeOS user whose key it is; default: your name")
    enroll.add_argument("--forget", action="store_true", help="take the key back")
    audit = add("audit", "show, verify or export who changed what, and who was refused")
    audit.add_argument("action", choices=("show", "verify", "export"))
    audit.add_argument("files", nargs="*", type=Path, help="archives to verify, the oldest first; none = the window")
    audit.add_argument("--limit", type=int, default=50, help="how many of the newest entries `show` prints")
    jobs_command.add_arguments(add("jobs", "list, show, watch, cancel and answer jobs", jobs_command.run))
    access_arguments.add_keys(add("keys", "make, list and revoke the API keys of callers"))
    access_arguments.add_policy(add("policy", "check a policy file, or explain what somebody may do"))
    client_config.add_arguments(
        add("client-config", "print, or write, the configuration of an MCP client", client_config.run)
    )
    return parser


def _run_process(options: argparse.Namespace) -> None:
    from gateway import processes

    processes.run(options)


def _enroll(options: argparse.Namespace) -> None:
    from gateway import enroll_command

    enroll_command.run(options)


def _bridge(_options: argparse.Namespace) -> None:
    import asyncio

    from gateway.transports.bridge import run_bridge

    asyncio.run(run_bridge())


if __name__ == "__main__":
    sys.exit(main())
