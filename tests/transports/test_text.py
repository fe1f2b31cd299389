"""What a model reads: tables, short lines, a job or an error in a sentence, and never more than its budget."""

import pytest
from pydantic import BaseModel

from gateway.calls import Answer
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading, Source
from gateway.core.errors import GatewayError, InvalidArgument
from gateway.core.job import JobState, JobView, Phase, Problem, TargetView
from gateway.core.tool import Effect, tool
from gateway.transports.text import SENTENCE_CHARACTERS, failure_text, job_text, text_of

READ = {"permission": Permission.READ, "effect": Effect.READ}
AS_OF = 1_700_000_000.25


class Box(BaseModel):
    id: int
    name: str
    open: bool | None = None
    weight: float | None = None
    labels: tuple[str, ...] = ()
    place: dict | None = None
    colour: str | None = None


class Shelf(BaseModel):
    id: int
    note: str = ""
    inside: dict | None = None
    boxes: tuple[Box, ...] = ()


@tool(**READ)
async def list_boxes(call, *, limit: int = 50, offset: int = 0) -> Page[Box]:
    """List boxes."""


@tool(**READ)
async def latest_boxes(call) -> Page[Box]:
    """List boxes, without an offset."""


@tool(**READ)
async def get_shelf(call) -> Reading[Shelf]:
    """Get a shelf."""


def listed(boxes, declared=list_boxes, source=Source.LIVE, **arguments):
    page = Page[Box](items=tuple(boxes), total=1000, next=None, as_of=AS_OF, source=source)
    return text_of(Answer(declared, page, AS_OF, source, declared.parse(arguments)))


def shown(source=Source.LIVE, **members):
    return text_of(Answer(get_shelf, Shelf(id=1, **members), AS_OF, source, get_shelf.parse({})))


def test_a_list_is_one_header_a_line_a_row_and_where_to_go_on():
    boxes = [Box(id=1, name="a", open=False, weight=2.50, labels=("x", "y")), Box(id=2, name="b", place={"row": 3})]
    assert listed(boxes) == (
        "id\tname\topen\tweight\tlabels\tplace\n"
        "1\ta\tfalse\t2.5\tx,y\t-\n"
        "2\tb\t-\t-\t-\t3\n"
        "total 1000, as_of 1700000000"
    )


def test_fields_add_columns_once_each():
    text = listed([Box(id=1, name="a", colour="red")], fields=" colour, name,colour ")
    assert text.split("\n")[0] == "id\tname\topen\tweight\tlabels\tplace\tcolour"


def test_a_field_that_no_row_has_is_refused_with_those_there_are():
    with pytest.raises(InvalidArgument, match="there is no column 'size'") as caught:
        list_boxes.parse({"fields": "name,size"})
    assert "colour" in caught.value.next_step


def test_a_list_without_rows_is_its_last_line():
    assert listed([]) == "total 1000, as_of 1700000000"


def test_rows_that_are_stale_say_so():
    assert listed([], source=Source.STALE).endswith("source stale, VergeOS does not answer")


def test_rows_that_do_not_fit_are_left_out_and_next_tells_the_first_of_them():
    text = listed([Box(id=number, name="n" * 100) for number in range(500)], limit=500, offset=40)
    assert len(text) <= 8_000
    *_, last_row, end = text.split("\n")
    assert f"next {40 + int(last_row.split()[0]) + 1}" in end


def test_a_list_without_an_offset_says_how_to_see_what_did_not_fit():
    text = listed([Box(id=number, name="n" * 100) for number in range(500)], latest_boxes)
    assert "next" not in text
    assert "of 500 rows, as many as fit" in text


def test_a_name_cannot_make_a_row_a_cell_or_a_last_line_of_its_own():
    text = listed([Box(id=1, name="a\tb\n2\tc\ntotal 0, next 7"), Box(id=2, name="x" * 5_000)])
    assert len(text.split("\n")) == 4
    assert [line.count("\t") for line in text.split("\n")] == [5, 5, 5, 0]
    assert len(text) < 600


def test_an_object_is_one_short_line_without_what_says_nothing():
    assert shown(note="", inside={"empty": {}, "n": None, "zero": 0}) == "id: 1, inside: {zero: 0}, as_of: 1700000000"


@pytest.mark.parametrize("hostile", ["a, id: 2", "12", "true", '"', "a: b", "{x}", "[", "x\ny", " lead"])
def test_a_text_that_could_be_taken_for_something_else_is_quoted(hostile):
    line = shown(note=hostile)
    assert 'note: "' in line
    assert "\n" not in line


def test_lists_of_objects_inside_an_object_become_tables_below_it():
    text = shown(boxes=(Box(id=1, name="a"), Box(id=2, name="b", open=True)), inside={"bits": [{"n": 1}]})
    assert text == "id: 1, as_of: 1700000000\nbits:\nn\n1\nboxes:\nid\tname\topen\n1\ta\t-\n2\tb\ttrue"


def test_a_long_list_inside_an_object_is_cut_and_says_so():
    text = shown(boxes=tuple(Box(id=number, name="n" * 300) for number in range(1_000)))
    assert text.endswith("… and 980 more")
    assert len(text) <= 8_000


def job(**changes):
    target = TargetView(kind="vm", id=7, name="web-1")
    fixed = {"id": "j1", "tool": "power_off_vm", "target": target, "owner": "local", "created_at": AS_OF}
    return JobView(**{**fixed, "state": JobState.WORKING, "phase": Phase.WAITING, "detail": "grace runs", **changes})


def test_a_job_is_a_sentence_with_what_to_do_next():
    assert job_text(job()) == "job j1 power_off_vm vm 7 web-1: working (waiting), grace runs; next: get_job"


def test_a_job_that_has_ended_has_nothing_next():
    ended = job(state=JobState.COMPLETED, phase=None, detail="off", result={"running": False, "seconds": 1.0})
    assert job_text(ended) == "job j1 power_off_vm vm 7 web-1: completed, off, running: false, seconds: 1"


def test_a_job_that_failed_says_why_and_what_to_do():
    why = Problem(code="stuck", detail="the guest hangs", next_step="Force it off.")
    text = job_text(job(state=JobState.FAILED, phase=None, problem=why))
    assert text == "job j1 power_off_vm vm 7 web-1: failed, stuck: the guest hangs. Next: Force it off."


def test_a_job_s_question_and_note_come_before_its_detail():
    text = job_text(
        job(state=JobState.INPUT_REQUIRED, phase=None, question="Cut the power?", note="same call as 40 s ago")
    )
    assert ": input_required, asks: Cut the power?, same call as 40 s ago, grace runs; next: get_job" in text


@pytest.mark.parametrize("long", ["detail", "question", "note", "name"])
def test_no_job_is_longer_than_its_budget_and_its_ends_are_kept(long):
    named = {"target": TargetView(kind="vm", id=7, name="n" * 128)} if long == "name" else {long: "x" * 2_000}
    text = job_text(job(**named))
    assert len(text) <= SENTENCE_CHARACTERS
    assert text.startswith("job j1 power_off_vm vm 7 ")
    assert text.endswith("; next: get_job")


def test_a_dry_run_says_what_would_be_and_that_nothing_was():
    plan = {"current": {"ram_mb": 1024}, "wanted": {"ram_mb": 2048}, "warnings": [], "requests": 3}
    text = job_text(job(id=None, state="planned", phase=None, plan=plan))
    assert text == (
        "dry run of power_off_vm on vm 7 web-1, nothing done: "
        "current: {ram_mb: 1024}, wanted: {ram_mb: 2048}; 3 requests"
    )


@pytest.mark.parametrize(("detail", "step"), [("d" * 900, "s" * 30), ("d" * 30, "s" * 900), ("d" * 900, "s" * 900)])
def test_no_error_is_longer_than_its_budget_and_both_parts_are_told(detail, step):
    text = failure_text(GatewayError(detail, next_step=step))
    assert len(text) <= SENTENCE_CHARACTERS
    assert "internal: ddd" in text
    assert "Next: sss" in text
