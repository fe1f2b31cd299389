"""The OpenAPI document is valid and whole, the routes answer what it says, and the page that shows it is safe."""

import json
import re
import subprocess
from importlib.resources import files
from shutil import which

import jsonschema
import pytest
from pydantic import create_model
from rest_fixtures import LAMP_TOOLS, house, told

from gateway.core.access import Permission
from gateway.core.tool import Catalog, Effect, tool
from gateway.tools import CATALOG
from gateway.transports.openapi import document

DIALECT = jsonschema.Draft202012Validator
METHODS = {"get", "post", "put", "patch", "delete"}
DOCUMENTS = {"all tools": document(CATALOG), "lamps": document(LAMP_TOOLS)}
EACH = pytest.mark.parametrize("api", DOCUMENTS.values(), ids=DOCUMENTS)
NOT_DESCRIBED = {"/mcp", "/message", "/docs/docs.js", "/docs/docs.css"}


def operations(api):
    return [(path, method, described) for path, item in api["paths"].items() for method, described in item.items()]


def walk(value):
    """Yield every object in a document."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from walk(member)
    elif isinstance(value, list):
        for member in value:
            yield from walk(member)


def resolved(api, reference):
    at = api
    for part in reference.removeprefix("#/").split("/"):
        at = at[part.replace("~1", "/").replace("~0", "~")]
    return at


def inlined(api, value):
    return resolved(api, value["$ref"]) if "$ref" in value else value


@EACH
def test_it_is_openapi_3_1_and_plain_json(api):
    assert api["openapi"] == "3.1.0"
    assert {"title", "version", "license"} <= set(api["info"])
    assert json.loads(json.dumps(api)) == api
    assert all(set(item) <= METHODS for item in api["paths"].values())


@EACH
def test_every_reference_leads_somewhere(api):
    references = [member["$ref"] for member in walk(api) if isinstance(member.get("$ref"), str)]
    assert references
    for reference in references:
        assert resolved(api, reference)


@EACH
def test_every_schema_is_a_schema(api):
    schemas = [*api["components"]["schemas"].values()]
    schemas += [member["schema"] for member in walk(api["paths"]) if isinstance(member.get("schema"), dict)]
    for schema in schemas:
        DIALECT.check_schema(schema)


@EACH
def test_every_operation_is_whole(api):
    ids = [described["operationId"] for _, _, described in operations(api)]
    assert len(ids) == len(set(ids))
    assert {tag for _, _, described in operations(api) for tag in described["tags"]} == {
        tag["name"] for tag in api["tags"]
    }
    for path, method, described in operations(api):
        assert described["summary"], (path, method)
        assert described["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
        places = [(given["name"], given["in"]) for given in described.get("parameters", ())]
        assert len(places) == len(set(places))
        assert {name for name, place in places if place == "path"} == set(re.findall(r"{(\w+)}", path)), path
        assert all(given["required"] for given in described.get("parameters", ()) if given["in"] == "path")
        assert "requestBody" not in described or method != "get"
        for answer in described["responses"].values():
            assert inlined(api, answer)["description"]


@EACH
def test_no_query_parameter_is_null_and_no_path_parameter_is_empty(api):
    for path, _, described in operations(api):
        for given in described.get("parameters", ()):
            options = [given["schema"], *given["schema"].get("anyOf", ())]
            assert "null" not in [option.get("type") for option in options], (path, given["name"])
            if given["in"] == "path" and path != "/jobs/{job_id}/events" and path != "/jobs/{job_id}/input":
                texts = [option for option in options if option.get("type") == "string" and "enum" not in option]
                assert all(text["minLength"] >= 1 for text in texts)


@EACH
def test_what_makes_a_job_answers_202_with_its_location_and_takes_wait_and_key(api):
    for declared in CATALOG if api is DOCUMENTS["all tools"] else LAMP_TOOLS:
        for described in (api["paths"][route.path][route.method.lower()] for route in declared.routes):
            assert ("202" in described["responses"]) == declared.makes_job
            taken = {given["name"] for given in described["parameters"]}
            assert ({"wait", "Idempotency-Key"} <= taken) == (declared.makes_job and "get" not in described)
            if declared.makes_job:
                assert "Location" in described["responses"]["202"]["headers"]


def test_equal_names_of_different_shapes_are_kept_apart():
    def made(name, kind):
        whole = create_model("Whole", part=(create_model("Part", x=(kind, ...)), ...))

        async def run(call):
            """Tell of a whole and its part."""

        run.__name__, run.__annotations__ = name, {"return": whole}
        return tool(f"GET /{name}", permission=Permission.READ, effect=Effect.READ)(run)

    api = document(Catalog([made("one", int), made("two", str), made("three", int)]))
    schemas = api["components"]["schemas"]
    assert schemas["Part"]["properties"]["x"] == {"type": "integer"}
    assert schemas["Part_2"]["properties"]["x"] == {"type": "string"}
    assert schemas["two_answer"]["properties"]["part"] == {"$ref": "#/components/schemas/Part_2"}
    assert "three_answer" not in schemas


async def test_every_route_is_described_and_every_description_is_a_route():
    async with house() as lamps:
        router = lamps.client.server.app.router
        mounted = {
            (re.sub(r"{(\w+):[^}]*}", r"{\1}", resource.canonical), route.method.lower())
            for resource in router.resources()
            for route in resource
            if route.method != "HEAD"
        }
        described = {(path, method) for path, method, _ in operations(await told(await lamps.get("/openapi.json")))}
    by_name = {(f"/tools/{declared.name}", "post") for declared in LAMP_TOOLS}
    assert {path for path in mounted if path[0] not in NOT_DESCRIBED} - {
        ("/tools/{name}", "post")
    } == described - by_name
    assert by_name <= described


def fits(api, path, method, answer, body):
    """Check an answer's status, media type, declared headers and body against the document."""
    responses = api["paths"][path][method]["responses"]
    described = inlined(api, responses.get(str(answer.status), responses["default"]))
    media = described.get("content", {})
    if not media:
        assert not body
        return
    assert answer.content_type in media
    schema = media[answer.content_type]["schema"]
    jsonschema.validate(body, {**schema, "components": api["components"]}, DIALECT)
    assert set(answer.headers) & {"Location", "X-Total-Count", "X-As-Of", "X-Source", "Age", "ETag"} <= {
        *described.get("headers", {}),
        *(["ETag"] if path.startswith("/tools") or path == "/openapi.json" else []),
        *(["X-As-Of", "X-Source", "Age"] if path.startswith("/tools/") else []),
    }


CALLS = [
    ("get", "/lamps", "/lamps?limit=2&lit=true", None),
    ("get", "/lamps", "/lamps?limit=x", None),
    ("get", "/lamps", "/lamps?nope=1", None),
    ("get", "/lamps/{id}", "/lamps/lamp-3", None),
    ("get", "/lamps/{id}", "/lamps/nobody", None),
    ("post", "/lamps/{id}/off", "/lamps/3/off", {"wait_timeout": 5}),
    ("post", "/lamps/{id}/off", "/lamps/3/off?wait=0.01", {"wait_timeout": 5}),
    ("post", "/lamps/{id}/off", "/lamps/x/off", {}),
    ("put", "/lamps/{id}", "/lamps/3", {"colour": "red", "layers": ["a"]}),
    ("delete", "/lamps/{id}", "/lamps/0", None),
    ("get", "/failures/{code}", "/failures/bug", None),
    ("get", "/failures/{code}", "/failures/store_unavailable", None),
    ("get", "/told", "/told?words=a&words=b&count=3", None),
    ("post", "/tools/list_lamps", "/tools/list_lamps", {"limit": 1}),
    ("post", "/tools/lamp_off", "/tools/lamp_off", {"id": 5}),
    ("post", "/tools/get_lamp", "/tools/get_lamp", {}),
    ("get", "/tools", "/tools", None),
    ("get", "/tools/{name}", "/tools/tell", None),
    ("get", "/tools/{name}", "/tools/nobody", None),
    ("get", "/health", "/health", None),
    ("get", "/livez", "/livez", None),
    ("get", "/readyz", "/readyz", None),
    ("get", "/", "/", None),
    ("get", "/openapi.json", "/openapi.json", None),
    ("get", "/jobs/{id}", "/jobs/nobody", None),
    ("post", "/jobs/{job_id}/input", "/jobs/nobody/input", {"answer": True}),
    ("post", "/jobs/{job_id}/input", "/jobs/nobody/input", {"answer": 1}),
]


async def test_what_the_routes_answer_fits_the_document():
    async with house() as lamps:
        api = await told(await lamps.get("/openapi.json"))
        for method, path, url, body in CALLS:
            answer = await lamps.client.request(method, url, json=body)
            fits(api, path, method, answer, await answer.json(content_type=None))


async def test_the_document_is_not_sent_twice():
    async with house() as lamps:
        first = await lamps.get("/openapi.json")
        again = await lamps.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, await again.read()) == (304, b"")


async def test_the_page_and_its_assets_come_from_here_alone():
    async with house() as lamps:
        page = await lamps.get("/docs")
        html = await page.text()
        assert page.content_type == "text/html"
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assets = re.findall(r'(?:src|href)="([^"]+)"', html)
        assert set(assets) == {"/docs/docs.js", "/docs/docs.css", "/openapi.json"}
        for asset in assets:
            answer = await lamps.get(asset)
            assert answer.status == 200
            assert "http" not in (await answer.text() if asset != "/openapi.json" else "")
        assert not re.search(r"<script>|<style|\son\w+=|javascript:", html)


def script():
    return (files("gateway.transports") / "assets" / "docs.js").read_text()


def test_the_page_never_turns_text_into_markup_or_code():
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert way not in script()


HOSTILE = "<img src=x onerror=alert(1)>"
STUB = """
const made = [];
class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.dataset = {}; this.heard = {}; made.push(this); }
  append(...children) { this.children.push(...children.flat()); }
  replaceChildren(...children) { this.children = children; }
  addEventListener(name, listener) { this.heard[name] = listener; }
  querySelectorAll() { return []; }
  get childElementCount() { return this.children.filter((child) => child instanceof Element).length; }
}
const known = {};
globalThis.document = {
  createElement: (tag) => new Element(tag),
  getElementById: (id) => (known[id] ??= new Element(id)),
  querySelectorAll: () => [],
};
globalThis.fetch = async () => ({ json: async () => JSON.parse(process.argv[1]) });
setTimeout(() => {
  for (const element of [...made]) if (element.heard.toggle) { element.open = true; element.heard.toggle(); }
  console.log(JSON.stringify(made.map((element) => [element.tag, element.textContent || ""])));
}, 50);
"""


@pytest.mark.skipif(which("node") is None, reason="no node here: the page's script is not run")
def test_the_page_shows_hostile_names_as_text():
    @tool("GET /lamps/{id}", permission=Permission.READ, effect=Effect.READ)
    async def get_lamp(call, *, id: int) -> dict[str, str]:
        """Get a lamp."""

    shown = document(Catalog([get_lamp]))
    operation = shown["paths"]["/lamps/{id}"]["get"]
    operation["summary"] = operation["description"] = operation["parameters"][0]["description"] = HOSTILE
    run = subprocess.run(
        ["node", "-e", STUB + script(), json.dumps(shown)], capture_output=True, text=True, timeout=20, check=True
    )
    elements = json.loads(run.stdout)
    assert sum(HOSTILE in text for _, text in elements) >= 3
    assert "img" not in {tag for tag, _ in elements}
    assert "/lamps/{id}" in {text for tag, text in elements if tag == "code"}
