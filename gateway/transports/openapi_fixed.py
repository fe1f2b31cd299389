"""The part of the OpenAPI document that no tool brings: probes, the list of tools, a job's events, and this itself."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

JSON = "application/json"

_TEXT: Json = {"type": "string"}
_OBJECT: Json = {"type": "object"}
_JOB_ID: Json = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}
_PROBLEM: Json = {"$ref": "#/components/responses/Problem"}

COMPONENTS: Json = {
    "schemas": {
        "Problem": {
            "type": "object",
            "description": "What went wrong (RFC 9457), with a code for programs and what to do next.",
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": _TEXT,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "code": _TEXT,
                "detail": _TEXT,
                "next_step": _TEXT,
            },
            "required": ["type", "title", "status", "code", "detail", "next_step"],
        },
        "DescribedTool": {
            "type": "object",
            "properties": {
                "name": _TEXT,
                "description": _TEXT,
                "permission": _TEXT,
                "effect": {"enum": ["read", "change", "destroy"]},
                "routes": {"type": "array", "items": _TEXT},
                "inputSchema": _OBJECT,
                "outputSchema": _OBJECT,
            },
            "required": ["name", "description", "permission", "effect", "routes", "inputSchema", "outputSchema"],
        },
        "Health": {
            "type": "object",
            "properties": {"status": _TEXT, "redis": _TEXT, "vergeos": _TEXT},
            "required": ["status"],
        },
    },
    "headers": {
        "X-As-Of": {"description": "when VergeOS was asked, in Unix seconds", "schema": {"type": "number"}},
        "X-Source": {
            "description": "from where the answer comes",
            "schema": {"type": "string", "enum": ["live", "cache", "stale"]},
        },
        "X-Older-Because": {"description": "why the answer is older than it was wanted", "schema": {"type": "string"}},
        "Age": {"description": "how old the answer is, in seconds", "schema": {"type": "integer", "minimum": 0}},
        "ETag": {"description": "names these very bytes", "schema": _TEXT},
        "X-Total-Count": {"description": "how many rows match", "schema": {"type": "integer", "minimum": 0}},
        "Link": {"description": 'the next page, as rel="next"', "schema": _TEXT},
        "Location": {"description": "path of the job", "schema": _TEXT},
        "Retry-After": {"description": "seconds until it may go well", "schema": {"type": "integer", "minimum": 1}},
    },
    "responses": {
        "Problem": {
            "description": "It was not done; `code` says why, `next_step` what to do",
            "headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}},
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    },
}


def fixed_paths(tools: Sequence[str]) -> dict[str, Json]:
    """Return the paths that no tool declares; `tools` are the names that `/tools/{name}` knows."""
    health = {"$ref": "#/components/schemas/Health"}
    described = {"$ref": "#/components/schemas/DescribedTool"}
    listed = {"type": "object", "properties": {"tools": {"type": "array", "items": described}}, "required": ["tools"]}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": list(tools)}}
    return {
        "/": _get("index", "Where one may begin", _OBJECT),
        "/health": _get("health", "How the gateway does", health),
        "/livez": _get("live", "Whether the process serves", health),
        "/readyz": _get("ready", "Whether the gateway can work", health, {"503": _answer("It cannot", health)}),
        "/metrics": _get("metrics", "Figures for Prometheus", _TEXT, media="text/plain"),
        "/openapi.json": _get("openapi", "This document", _OBJECT),
        "/docs": _get("docs", "This document for people", _TEXT, media="text/html"),
        "/tools": _get("list_tools", "The tools that the caller may use", listed, tag="tools"),
        "/tools/{name}": _get("show_tool", "One tool", described, tag="tools", parameters=[name]),
        "/jobs/{job_id}/events": _events(),
        "/jobs/{job_id}/input": _answering(),
    }


def _events() -> Json:
    known = {"schema": {"type": "string", "pattern": "^[0-9]{1,12}$"}, "description": "id of the last event known"}
    seen = [{"name": "Last-Event-ID", "in": "header", **known}, {"name": "last_event_id", "in": "query", **known}]
    streamed = _answer("The events until the job's end", _TEXT, "text/event-stream")
    return {
        "get": {
            "operationId": "follow_job",
            "summary": "A job's events as they happen",
            "tags": ["jobs"],
            "parameters": [_JOB_ID, *seen],
            "responses": {"200": streamed, "204": {"description": "There are no more events"}, "default": _PROBLEM},
        }
    }


def _answering() -> Json:
    body = {
        "type": "object",
        "properties": {"answer": {"type": "boolean"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    return {
        "post": {
            "operationId": "answer_job",
            "summary": "Answer the question of a job that waits for input",
            "tags": ["jobs"],
            "parameters": [_JOB_ID],
            "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
            "responses": {"200": _answer("The job", _OBJECT), "default": _PROBLEM},
        }
    }


def _get(
    name: str,
    summary: str,
    schema: Json,
    more: Json | None = None,
    *,
    media: str = JSON,
    tag: str = "gateway",
    parameters: Sequence[Json] = (),
) -> Json:
    answers = {"200": _answer(summary, schema, media), **(more or {}), "default": _PROBLEM}
    read = {"operationId": name, "summary": summary, "tags": [tag], "parameters": [*parameters], "responses": answers}
    return {"get": read}


def _answer(words: str, schema: Json, media: str = JSON) -> Json:
    return {"description": words, "content": {media: {"schema": schema}}}
