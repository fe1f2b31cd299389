"""What a tool is, and the catalog of them; every face derives from these declarations."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from gateway.core.access import Caller, CallerKind, Permission
from gateway.core.answer import Page, Reading
from gateway.core.errors import InvalidArgument, UnknownTool
from gateway.core.job import REASON_LIMIT, JobView, Ordered
from gateway.core.offer import Prompt, Resource
from gateway.core.text import clean


class Effect(StrEnum):
    """What a tool does to the platform."""

    READ = "read"
    CHANGE = "change"
    DESTROY = "destroy"  # what was there before is lost: force off, hard reset, restore, delete


class Arguments(BaseModel):
    """The validated arguments of one call; each tool has a subclass made from its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @cached_property
    def key(self) -> str:
        """What tells these arguments from others of the same tool."""
        return self.model_dump_json()


class Order(Arguments):
    """What every tool that makes a job takes besides its own parameters."""

    after: str | None = Field(None, max_length=64, description="id of the job to queue behind on purpose")
    again: bool = Field(False, description="repeat on purpose what was just done")
    dry_run: bool = Field(False, description="only say what it would do")
    reason: str | None = Field(None, max_length=REASON_LIMIT, description="agents must say")


class Read(Arguments):
    """What every tool that answers from views takes besides its own parameters."""

    max_age: float | None = Field(None, ge=0, allow_inf_nan=False, description="oldest wanted, in seconds; 0 = live")


class Listing(Read):
    """What every tool that answers rows takes besides its own parameters; only texts for models heed it."""

    fields: str | None = Field(None, max_length=300, description="more columns in the text answer, comma-separated")

    @property
    def more_columns(self) -> tuple[str, ...]:
        """The columns that the caller wants besides the usual ones."""
        return tuple(dict.fromkeys(part.strip() for part in (self.fields or "").split(",") if part.strip()))


@dataclass(frozen=True)
class Route:
    """A REST route of a tool, e.g. `POST /vms/{id}/poweroff`; `{name}` is a parameter of the tool."""

    method: str
    path: str

    @property
    def path_parameters(self) -> frozenset[str]:
        """Names of the parameters that stand in the path."""
        return frozenset(re.findall(r"{(\w+)}", self.path))


@dataclass(frozen=True)
class Tool:
    """One declared feature. `run` takes the call and the validated arguments as keywords.

    `row` is the shape of the rows of a tool that answers a page of them. `of_views` is true where `run` takes the
    views of the call instead of the call: its answer is made of them and of nothing else.
    """

    name: str
    description: str
    run: Callable[..., Awaitable[Any]]
    arguments: type[Arguments]
    result: TypeAdapter[Any]
    routes: tuple[Route, ...]
    permission: Permission
    effect: Effect
    makes_job: bool
    escalates: Mapping[str, Permission] = field(default_factory=dict)
    row: type[BaseModel] | None = None
    of_views: bool = False

    def parse(self, raw: Mapping[str, Any]) -> Arguments:
        """Return the arguments, validated; raise `InvalidArgument` that names each wrong one.

        A null is an argument that was not given: models write out what they leave open.
        """
        try:
            arguments = self.arguments.model_validate({name: value for name, value in raw.items() if value is not None})
        except ValidationError as exc:
            raise InvalidArgument(f"{self.name}: {_sentence(exc)}") from None
        if isinstance(arguments, Listing):
            self._require_columns(arguments.more_columns)
        return arguments

    def _require_columns(self, columns: Iterable[str]) -> None:
        known = () if self.row is None else tuple(self.row.model_fields)
        for column in columns:
            if column not in known:
                told = f"{self.name}: fields: there is no column {clean(column, 40)!r}"
                raise InvalidArgument(told, next_step=f"Columns are {', '.join(known)}.")

    def needs(self, arguments: Arguments) -> frozenset[Permission]:
        """Return the permissions that these arguments take on the object."""
        more = (permission for parameter, permission in self.escalates.items() if getattr(arguments, parameter))
        return frozenset({self.permission, *more})

    def require(self, caller: Caller, arguments: Arguments | None = None) -> None:
        """Raise `Forbidden` unless the caller holds what the tool, and these arguments of it, ask for."""
        caller.require(self.permission, self.name)
        for parameter, permission in self.escalates.items() if arguments is not None else ():
            if getattr(arguments, parameter):
                caller.require(permission, f"{self.name} with {parameter}")

    def changes(self, raw: Mapping[str, Any] | Arguments) -> bool:
        """Tell whether a call with these arguments changes something; a dry run does not."""
        dry = raw.get("dry_run") is True if isinstance(raw, Mapping) else isinstance(raw, Order) and raw.dry_run
        return self.effect is not Effect.READ and not (self.makes_job and dry)

    def require_reason(self, caller: Caller, arguments: Arguments) -> None:
        """Raise `InvalidArgument` where an agent does not say why it wants a job."""
        if isinstance(arguments, Order) and caller.kind is CallerKind.AGENT and not (arguments.reason or "").strip():
            raise InvalidArgument(f"{self.name}: reason: an agent must say why", next_step="Call again with a reason.")

    @cached_property
    def own_arguments(self) -> tuple[str, ...]:
        """Names of the tool's own parameters, without those that its kind of answer brings."""
        shared = {
            name for base in (Order, Listing, Read) if issubclass(self.arguments, base) for name in base.model_fields
        }
        return tuple(name for name in self.arguments.model_fields if name not in shared)

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        schema: dict[str, Any] = _without_titles(self.arguments.model_json_schema())
        schema["properties"] = {name: _without_null(shown) for name, shown in schema.get("properties", {}).items()}
        return schema

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """JSON schema of the answer as callers see it."""
        schema: dict[str, Any] = _without_required_nulls(_without_titles(self.result.json_schema(mode="serialization")))
        return schema


class Catalog:
    """All tools, in the order of their declaration, and what is offered beside them.

    `core` names the tools of the small choice. A resource is offered while its tool is there, a prompt while all
    of its tools are.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        core: Iterable[str] = (),
        resources: Iterable[Resource] = (),
        prompts: Iterable[Prompt] = (),
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self.core = tuple(name for name in core if name in self)
        self.resources = tuple(resource for resource in resources if resource.tool in self)
        self.prompts = tuple(prompt for prompt in prompts if all(name in self for name in prompt.tools))

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def only(self, keep: Callable[[Tool], bool]) -> "Catalog":
        """Return the catalog of the tools that are to be kept, in the same order."""
        kept = (tool for tool in self if keep(tool))
        return Catalog(kept, core=self.core, resources=self.resources, prompts=self.prompts)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __getitem__(self, name: str) -> Tool:
        """Return the tool of this name; raise `UnknownTool`."""
        try:
            return self._tools[name]
        except KeyError:
            raise UnknownTool(f"there is no tool {name!r}") from None

    def usable_by(self, caller: Caller) -> tuple[Tool, ...]:
        """Return the tools whose permission the caller holds."""
        return tuple(tool for tool in self if caller.may(tool.permission))


def tool(
    *routes: str, permission: Permission, effect: Effect, escalates: Mapping[str, Permission] | None = None
) -> Callable[[Callable[..., Awaitable[Any]]], Tool]:
    """Declare an async function as a tool.

    Its first parameter is the call, or `views`, those of the call, where it needs nothing else; its keyword
    parameters are the input schema, its docstring the description, its return annotation (`Page[…]`, `Reading[…]`,
    `Ordered` or a model) the output schema. What makes a job also takes the parameters of `Order`, which the call
    carries, what answers a page those of `Listing`, and what answers a reading those of `Read`. `escalates` names
    parameters that need a further permission when they are true.
    """

    def declare(function: Callable[..., Awaitable[Any]]) -> Tool:
        hints = get_type_hints(function, include_extras=True)
        returned = hints.pop("return")
        return Tool(
            name=function.__name__,
            description=inspect.cleandoc(function.__doc__ or ""),
            run=function,
            arguments=_arguments_model(function, hints, _base(returned)),
            result=TypeAdapter(_shown(returned)),
            routes=tuple(Route(*route.split(" ", 1)) for route in routes),
            permission=permission,
            effect=effect,
            makes_job=returned == Ordered,
            escalates=escalates or {},
            row=_row(returned),
            of_views=next(iter(inspect.signature(function).parameters)) == "views",
        )

    return declare


def _arguments_model(function: Callable[..., Any], hints: Mapping[str, Any], base: type[Arguments]) -> type[Arguments]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is inspect.Parameter.empty else p.default) for p in parameters
    }
    return create_model(f"{function.__name__}_arguments", __base__=base, **fields)


def _base(returned: Any) -> type[Arguments]:
    """Return what the arguments of a tool extend, as its kind of answer wants it."""
    if returned == Ordered:
        return Order
    if _row(returned) is not None:
        return Listing
    return Read if _reading(returned) else Arguments


def _row(returned: Any) -> type[BaseModel] | None:
    """Return the shape of the rows of a page, None for every other answer."""
    if not (isinstance(returned, type) and issubclass(returned, Page)):
        return None
    row = get_args(returned.model_fields["items"].annotation)[0]
    return row if isinstance(row, type) and issubclass(row, BaseModel) else None


def _shown(returned: Any) -> Any:
    """Map what a tool returns to what its caller sees: a job's view, a reading's value."""
    if returned == Ordered:
        return JobView
    return returned.model_fields["value"].annotation if _reading(returned) else returned


def _reading(returned: Any) -> bool:
    return isinstance(returned, type) and issubclass(returned, Reading)


def _sentence(exc: ValidationError) -> str:
    """Return what is wrong with which argument, without the values: they may be secret or huge."""
    parts = []
    for error in exc.errors(include_url=False, include_context=False, include_input=False)[:5]:
        where = ".".join(str(part) for part in error["loc"]) or "arguments"
        what = "is not a parameter of this tool" if error["type"] == "extra_forbidden" else error["msg"]
        parts.append(f"{where}: {what[0].lower() + what[1:]}")
    return "; ".join(parts)


def _without_titles(schema: Any) -> Any:
    """Drop pydantic's generated titles, which cost tokens and say nothing."""
    if isinstance(schema, dict):
        return {k: _without_titles(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Show an argument that may be left out without its null, which only costs words; null is still taken."""
    if not _nullable(schema):
        return schema
    options = [option for option in schema["anyOf"] if option != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**(options[0] if len(options) == 1 else {"anyOf": options}), **kept}


def _without_required_nulls(schema: Any) -> Any:
    """Require no property that may be null: answers leave out what is null, and clients hold them to the schema."""
    if isinstance(schema, list):
        return [_without_required_nulls(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shown = {key: _without_required_nulls(value) for key, value in schema.items()}
    if isinstance(shown.get("required"), list):
        properties = shown.get("properties", {})
        shown["required"] = [name for name in shown["required"] if not _nullable(properties.get(name, {}))]
    return shown


def _nullable(schema: dict[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())
