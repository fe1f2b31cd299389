"""REST described for programs: an OpenAPI 3.1 document, derived from the catalog and the few routes beside it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway import __version__
from gateway.core.job import JobView
from gateway.core.tool import Catalog, Effect, Route, Tool
from gateway.transports.arguments import KEY_LIMIT, WAIT_LIMIT_SECONDS
from gateway.transports.openapi_fixed import COMPONENTS, fixed_paths

JSON, PROBLEM = "application/json", "application/problem+json"
READS = "GET"
JOB = JobView.__name__
SCHEMAS = "#/components/schemas/"

Json = dict[str, Any]


def document(catalog: Catalog) -> Json:
    """Return the OpenAPI 3.1 document of every route over this catalog."""
    schemas = _Schemas()
    paths: dict[str, Json] = {}
    for tool in catalog:
        for number, route in enumerate(tool.routes, 1):
            operation = _operation(tool, route, schemas) | {
                "operationId": tool.name + (f"_{number + 1}" * bool(number))
            }
            paths.setdefault(route.path, {})[route.method.lower()] = operation
        paths[f"/tools/{tool.name}"] = {"post": _call_by_name(tool, schemas)}
    names = [tool.name for tool in catalog]
    for path, operations in fixed_paths(names).items():
        paths.setdefault(path, {}).update(operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "VergeOS Gateway",
            "version": __version__,
            "description": "Reads and operates VergeOS. What takes longer answers a job: follow it at its Location.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {**COMPONENTS, "schemas": {**COMPONENTS["schemas"], **schemas.shared}},
        "tags": [{"name": tag} for tag in dict.fromkeys(_tags(paths.values()))],
    }


class _Schemas:
    """The schemas that operations share by reference; equal names with another content get a number."""

    def __init__(self) -> None:
        self.shared: Json = {}

    def of(self, schema: Mapping[str, Any]) -> Json:
        """Return a schema as it may stand in the document: its own definitions are shared ones there."""
        renamed = self._renamed(schema.get("$defs", {}))
        for name, definition in schema.get("$defs", {}).items():
            self.shared[renamed[name]] = _relinked(definition, renamed)
        relinked: Json = _relinked({key: value for key, value in schema.items() if key != "$defs"}, renamed)
        return relinked

    def named(self, name: str, schema: Mapping[str, Any]) -> Json:
        """Share a whole schema under this name, or the one that an equal schema has; return the reference to it."""
        shared = self.of(schema)
        known = next((known for known, other in self.shared.items() if other == shared), name)
        self.shared[known] = shared
        return {"$ref": SCHEMAS + known}

    def _renamed(self, definitions: Mapping[str, Any]) -> dict[str, str]:
        """Return under which name each definition is shared; all keep theirs unless one of them is taken."""
        for number in range(1, 1000):
            names = {name: name if number == 1 else f"{name}_{number}" for name in definitions}
            taken = (
                self.shared.get(names[name], relinked) != relinked
                for name, relinked in ((name, _relinked(schema, names)) for name, schema in definitions.items())
            )
            if not any(taken):
                return names
        raise ValueError("too many schemas of one name")


def _relinked(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_relinked(item, names) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    linked = {key: _relinked(value, names) for key, value in schema.items()}
    target = linked.get("$ref")
    if isinstance(target, str):
        linked["$ref"] = SCHEMAS + names[target.removeprefix("#/$defs/")]
    return linked


def _operation(tool: Tool, route: Route, schemas: _Schemas) -> Json:
    """Return one REST route of a tool."""
    arguments = schemas.of(tool.input_schema)
    inside = {name: arguments["properties"][name] for name in sorted(route.path_parameters)}
    beside = {name: schema for name, schema in arguments["properties"].items() if name not in inside}
    required = [name for name in arguments.get("required", ()) if name in beside]
    parameters = [_parameter(name, "path", _not_empty(schema), required=True) for name, schema in inside.items()]
    reads = route.method == READS
    operation = _described(tool, route.path.split("/")[1])
    if reads:
        parameters += [_parameter(name, "query", schema, required=name in required) for name, schema in beside.items()]
    elif beside:
        body = {"type": "object", "properties": beside, "required": required, "additionalProperties": False}
        operation["requestBody"] = _body(body if required else _without(body, "required"), required=bool(required))
    operation["parameters"] = [*parameters, *_job_parameters(tool)] if not reads else [*parameters, _NONE_MATCH]
    operation["responses"] = _read_answers(tool, schemas) if reads else _done_answers(tool, _answer(tool, schemas))
    return operation


def _call_by_name(tool: Tool, schemas: _Schemas) -> Json:
    """Return `POST /tools/{name}`, which answers the value under `result`, and beside it how fresh what was read is."""
    properties = {"result": _answer(tool, schemas), **(_FRESHNESS if tool.effect is Effect.READ else {})}
    result = {"type": "object", "properties": properties, "required": ["result"]}
    body = schemas.named(f"{tool.name}_arguments", tool.input_schema)
    return {
        **_described(tool, "tools"),
        "operationId": f"call_{tool.name}",
        "parameters": _job_parameters(tool),
        "requestBody": _body(body, required=bool(tool.input_schema.get("required"))),
        "responses": _done_answers(tool, result),
    }


def _described(tool: Tool, tag: str) -> Json:
    summary = tool.description.split("\n")[0].split(". ")[0].rstrip(".")
    told = f"{tool.description}\n\nPermission: {tool.permission.value}."
    for parameter, permission in tool.escalates.items():
        told += f" With `{parameter}` also {permission.value}."
    if tool.effect is Effect.DESTROY:
        told += " What was there before is lost."
    return {"summary": summary, "description": told, "tags": [tag]}


def _read_answers(tool: Tool, schemas: _Schemas) -> Json:
    """Return the answers of a read; a page is answered as a bare array, what goes beside it in headers."""
    headers = {name: _header(name) for name in ("X-As-Of", "X-Source", "X-Older-Because", "Age", "ETag")}
    schema = _answer(tool, schemas)
    if tool.row is not None:
        headers |= {name: _header(name) for name in ("X-Total-Count", "Link")}
        schema = schemas.of(tool.output_schema)["properties"]["items"]
    return {
        "200": {"description": "What was asked for", "headers": headers, "content": {JSON: {"schema": schema}}},
        "304": {"description": "Nothing has changed since the ETag of `If-None-Match`"},
        **_FAILURES,
    }


def _done_answers(tool: Tool, schema: Json) -> Json:
    content = {JSON: {"schema": schema}}
    if not tool.makes_job:
        return {"200": {"description": "Done", "content": content}, **_FAILURES}
    where = {"Location": _header("Location")}
    return {
        "200": {
            "description": "The job, which has ended; or what a dry run would do",
            "headers": where,
            "content": content,
        },
        "202": {"description": "The job, which goes on; follow it at Location", "headers": where, "content": content},
        **_FAILURES,
    }


def _answer(tool: Tool, schemas: _Schemas) -> Json:
    return schemas.named(JOB if tool.makes_job else f"{tool.name}_answer", tool.output_schema)


def _parameter(name: str, place: str, schema: Mapping[str, Any], *, required: bool) -> Json:
    parameter = {"name": name, "in": place, "required": required, "schema": _without(schema, "description")}
    if "description" in schema:
        parameter["description"] = schema["description"]
    return parameter


def _not_empty(schema: Json) -> Json:
    """Return the schema of an argument that stands in a path, where no text is empty."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_not_empty(option) for option in schema["anyOf"]]}
    return {"minLength": 1, **schema} if schema.get("type") == "string" and "enum" not in schema else schema


def _job_parameters(tool: Tool) -> list[Json]:
    """Return what the transport itself takes of a call that makes a job."""
    return [_WAIT, _IDEMPOTENCY_KEY] if tool.makes_job else []


def _body(schema: Json, *, required: bool) -> Json:
    return {"required": required, "content": {JSON: {"schema": schema}}}


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _without(schema: Mapping[str, Any], key: str) -> Json:
    return {name: value for name, value in schema.items() if name != key}


def _tags(paths: Iterable[Json]) -> Iterator[str]:
    for operations in paths:
        for operation in operations.values():
            yield from operation["tags"]


_FAILURES: Json = {"default": {"$ref": "#/components/responses/Problem"}}
_WAIT = _parameter(
    "wait",
    "query",
    {
        "type": "number",
        "minimum": 0,
        "maximum": WAIT_LIMIT_SECONDS,
        "default": 0,
        "description": "seconds to wait for the job's end before its present state is the answer",
    },
    required=False,
)
_IDEMPOTENCY_KEY = _parameter(
    "Idempotency-Key",
    "header",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_LIMIT,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
        "description": "the same key is the same call: sent again it answers the first one's job",
    },
    required=False,
)
_NONE_MATCH = _parameter(
    "If-None-Match", "header", {"type": "string", "description": "the ETag of an earlier answer"}, required=False
)

_FRESHNESS = {
    "as_of": {"type": "number", "description": "when VergeOS was asked, in Unix seconds"},
    "age_ms": {"type": "integer", "minimum": 0},
    "source": {"type": "string", "enum": ["live", "cache", "stale"]},
    "older_because": {"type": "string", "description": "why the answer is older than it was wanted"},
}
