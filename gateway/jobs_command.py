"""`jobs`: list, show, watch, cancel and answer the jobs of a gateway, here or elsewhere, for people and for scripts."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gateway.remote import CannotReach, Refused, Remote, WrongUse

DONE, FAILED, WRONG_USE, UNREACHABLE, STILL_OPEN, REFUSED = range(6)
STATUS = "exit status: 0 done, 1 a job failed or was cancelled, 2 wrong use, 3 cannot reach, 4 still open, 5 refused"
FINAL = frozenset({"completed", "failed", "cancelled"})
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 30.0  # a gateway that restarts is back by then
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
COLUMNS = ("id", "tool", "target", "state", "owner", "age", "detail")

Job = Mapping[str, Any]
Show = Callable[[Sequence[Job]], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `jobs`."""
    parser.epilog = f"{STATUS}. VERGEOS_MCP_URL and VERGEOS_MCP_TOKEN name a gateway that is not on this machine."
    verbs = parser.add_subparsers(required=True, metavar="VERB", dest="verb")

    def add(name: str, words: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=words, description=words, epilog=STATUS)
        added.add_argument("--json", action="store_true", help="for programs: one JSON value, or one a line")
        return added

    listing = add("list", "list jobs, newest first")
    listing.add_argument("--state", choices=("working", "input_required", *sorted(FINAL)))
    for name, words in (("vm", "id or name"), ("caller", "whose jobs"), ("tool", "e.g. power_off_vm")):
        listing.add_argument(f"--{name}", help=words)
    listing.add_argument("--since", type=_ago, metavar="AGO", help="e.g. 30m, 12h, 7d")
    listing.add_argument("--limit", type=int, default=50)
    add("show", "show all that a job's record tells").add_argument("id")
    watch = add("watch", "follow jobs to their end; without an id what is open, until Ctrl-C")
    watch.add_argument("id", nargs="*")
    watch.add_argument("--timeout", type=float, metavar="SECONDS", help="give up then, with status 4")
    add("cancel", "withdraw jobs").add_argument("id", nargs="+")
    answer = add("answer", "answer what a job asks")
    answer.add_argument("id")
    answer.add_argument("answer", choices=("yes", "no"))


def run(options: argparse.Namespace) -> int:
    """Carry out one verb; return the exit status."""
    try:
        return VERBS[options.verb](Remote.of(), options)
    except (CannotReach, Refused, WrongUse) as exc:
        print(f"vergeos-gateway: {exc.detail}\n  {exc.next_step}", file=sys.stderr)
        return {CannotReach: UNREACHABLE, Refused: REFUSED}.get(type(exc), WRONG_USE)


def _list(remote: Remote, options: argparse.Namespace) -> int:
    names = ("state", "vm", "caller", "tool", "since", "limit")
    jobs = remote.get("jobs", **{name: getattr(options, name) for name in names})
    _print_json(jobs) if options.json else _print_table(jobs)
    return DONE


def _show(remote: Remote, options: argparse.Namespace) -> int:
    job = remote.get("jobs", options.id, details="true")
    _print_json(job) if options.json else _print_whole(job)
    return _status([job])


def _cancel(remote: Remote, options: argparse.Namespace) -> int:
    for job_id in options.id:
        _tell([remote.post("jobs", job_id, "cancel")], as_json=options.json)
    return DONE


def _answer(remote: Remote, options: argparse.Namespace) -> int:
    job = remote.post("jobs", options.id, "input", body={"answer": options.answer == "yes"})
    _tell([job], as_json=options.json)
    return DONE


def _watch(remote: Remote, options: argparse.Namespace) -> int:
    """Show jobs until all have ended, the time is over, or for ever where none is named."""
    ends_at = None if options.timeout is None else time.monotonic() + options.timeout
    with _live(options) as show:
        while True:
            jobs = _seen(remote, options.id)
            show(jobs)
            if options.id and all(job["state"] in FINAL for job in jobs):
                return _status(jobs)
            if ends_at is not None and time.monotonic() >= ends_at:
                return STILL_OPEN if options.id else DONE
            time.sleep(LOOK_SECONDS)


def _seen(remote: Remote, ids: Sequence[str]) -> list[Job]:
    """Return the jobs as they are now; a gateway that does not answer is asked again for a while."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if ids:
                return [remote.get("jobs", job_id) for job_id in ids]
            return [job for state in ("input_required", "working") for job in remote.get("jobs", state=state)]
        except CannotReach:
            if time.monotonic() >= ends_at:
                raise
        time.sleep(LOOK_SECONDS)


def _status(jobs: Sequence[Job]) -> int:
    states = {job["state"] for job in jobs}
    if states - FINAL:
        return STILL_OPEN
    return DONE if states <= {"completed"} else FAILED


# showing


@contextmanager
def _live(options: argparse.Namespace) -> Iterator[Show]:
    """Yield what shows jobs anew: a table that changes in place on a terminal, else a line a change."""
    if options.json or not sys.stdout.isatty():
        told: dict[str, tuple[Any, ...]] = {}

        def tell(jobs: Sequence[Job]) -> None:
            for job in jobs:
                news = tuple(job.get(name) for name in ("state", "phase", "detail", "question"))
                if told.get(job["id"]) != news:
                    told[job["id"]] = news
                    _tell([job], as_json=options.json)

        yield tell
        return
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        yield lambda jobs: live.update(_table(jobs), refresh=True)


def _print_table(jobs: Sequence[Job]) -> None:
    if not sys.stdout.isatty():
        _tell(jobs, as_json=False)
        return
    from rich.console import Console

    Console().print(_table(jobs))


def _table(jobs: Sequence[Job]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS, box=None, header_style="bold")
    colours = {"completed": "green", "failed": "red", "cancelled": "yellow", "input_required": "magenta"}
    for job in jobs:
        cells = [Text(cell) for cell in _cells(job)]
        cells[COLUMNS.index("state")].stylize(colours.get(job["state"], ""))
        table.add_row(*cells)
    return table


def _tell(jobs: Sequence[Job], *, as_json: bool) -> None:
    """Print one line a job: tabs between the cells, or JSON."""
    for job in jobs:
        print(json.dumps(job) if as_json else "\t".join(_cells(job)), flush=True)


def _cells(job: Job) -> list[str]:
    target, state = job["target"], job["state"]
    problem = job.get("problem") or {}
    asks = f"asks: {job['question']} (jobs answer {job['id']} yes|no)" if job.get("question") else ""
    said = asks or (f"{problem['detail']} {problem['next_step']}" if problem else job.get("detail", ""))
    place = f"place {job['position']}: " if job.get("position") else ""
    phase = f" ({job['phase']})" if job.get("phase") else ""
    age = _age((job.get("ended_at") or time.time()) - job["created_at"])
    named = f"{target['kind']} {target['id']} {target['name']}"
    return [job["id"], job["tool"], named, f"{state}{phase}", job["owner"], age, f"{place}{said}"]


def _print_whole(job: Job) -> None:
    """Print a job's record in the order in which it happened."""
    details = job.get("details", {})
    _tell([job], as_json=False)
    for name in ("face", "client", "arguments", "before", "after"):
        if details.get(name):
            print(f"{name + ':':<11}{_short(details[name])}")
    for call in details.get("calls", ()):
        took = f"{call['outcome']}, {call['ms']} ms"
        print(f"request    {_clock(call['at'])}  {call['method']} {call['endpoint']}: {took}")
    for event in details.get("events", ()):
        phase = f" ({event['phase']})" if event.get("phase") else ""
        print(f"event      {_clock(event['at'])}  {event['state']}{phase} {event.get('detail', '')}")


def _short(value: Any) -> str:
    return ", ".join(f"{name}={member}" for name, member in value.items()) if isinstance(value, dict) else str(value)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _age(seconds: float) -> str:
    for unit, size in reversed(UNITS.items()):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "0s"


def _ago(text: str) -> float:
    """Return the moment that lies so long ago, e.g. `12h`, in Unix seconds."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30m, 12h or 7d")
    return time.time() - int(number) * UNITS[unit]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


VERBS: Mapping[str, Callable[[Remote, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "watch": _watch,
    "cancel": _cancel,
    "answer": _answer,
}
