// Shows /openapi.json. Text only ever becomes a text node: whatever a name holds, it is shown and never run.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const LONGEST_SHOWN = 200000;

function make(tag, text, ...children) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function resolved(api, value) {
  let at = value;
  for (let step = 0; at && at.$ref && step < 20; step += 1) {
    at = at.$ref.slice(2).split("/").reduce((inner, key) => inner && inner[key.replace(/~1/g, "/").replace(/~0/g, "~")], api);
  }
  return at || {};
}

function shape(api, schema) {
  const own = resolved(api, schema);
  if (own.enum) return own.enum.map(String).join(" | ");
  if (own.anyOf || own.oneOf) return (own.anyOf || own.oneOf).map((option) => shape(api, option)).join(" | ");
  if (own.type === "array") return `list of ${shape(api, own.items || {})}`;
  return [].concat(own.type || "anything").join(" | ");
}

function example(api, schema, depth = 0) {
  const own = resolved(api, schema);
  if (own.default !== undefined) return own.default;
  if (own.enum) return own.enum[0];
  if (own.anyOf) return example(api, own.anyOf[0], depth);
  if (own.type === "object" && depth < 3) {
    const wanted = new Set(own.required || []);
    const members = Object.entries(own.properties || {}).filter(([name]) => wanted.has(name));
    return Object.fromEntries(members.map(([name, member]) => [name, example(api, member, depth + 1)]));
  }
  return { integer: 1, number: 1, boolean: false, array: [], object: {} }[own.type] ?? "";
}

function rows(api, entries) {
  const table = make("table");
  table.append(make("tr", "", ...["Name", "Where", "What it takes", "Meaning"].map((word) => make("th", word))));
  for (const entry of entries) {
    const name = entry.required ? `${entry.name} *` : entry.name;
    const cells = [make("td", "", make("code", name)), make("td", entry.in), make("td", shape(api, entry.schema))];
    table.append(make("tr", "", ...cells, make("td", entry.description || "")));
  }
  return table;
}

function bodySchema(api, operation) {
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  return content ? resolved(api, content.schema) : null;
}

function inputs(api, operation) {
  const body = bodySchema(api, operation);
  const required = new Set((body && body.required) || []);
  const members = Object.entries((body && body.properties) || {}).map(([name, schema]) => (
    { name, in: "body", required: required.has(name), schema, description: schema.description }
  ));
  return [...(operation.parameters || []).map((entry) => resolved(api, entry)), ...members];
}

function answers(api, operation) {
  const list = make("ul");
  for (const [status, given] of Object.entries(operation.responses)) {
    const answer = resolved(api, given);
    const item = make("li", "", make("code", status), ` ${answer.description || ""}`);
    for (const [media, content] of Object.entries(answer.content || {})) {
      const schema = make("details", "", make("summary", `${media}: ${shape(api, content.schema)}`));
      schema.append(make("pre", JSON.stringify(resolved(api, content.schema), null, 2)));
      item.append(schema);
    }
    const headers = Object.keys(answer.headers || {});
    if (headers.length) item.append(make("div", `Headers: ${headers.join(", ")}`));
    list.append(item);
  }
  return list;
}

function request(method, path, fields, body) {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const { entry, input } of fields) {
    const value = input.value;
    if (entry.in === "path") target = target.replace(`{${entry.name}}`, () => encodeURIComponent(value));
    else if (value !== "" && entry.in === "query") query.append(entry.name, value);
    else if (value !== "" && entry.in === "header") headers[entry.name] = value;
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { method: method.toUpperCase(), headers, credentials: "omit" };
  if (body && body.value.trim()) {
    options.body = body.value;
    headers["Content-Type"] = "application/json";
  }
  const asked = query.toString();
  return [asked ? `${target}?${asked}` : target, options];
}

async function send(method, path, fields, body, shown) {
  shown.textContent = "…";
  try {
    const answer = await fetch(...request(method, path, fields, body));
    const text = await answer.text();
    const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    let pretty = text;
    try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON: shown as it came */ }
    shown.textContent = `${answer.status} ${answer.statusText}\n${headers}\n\n${pretty}`.slice(0, LONGEST_SHOWN);
  } catch (error) {
    shown.textContent = `No answer: ${error.message}`;
  }
}

function trial(api, method, path, operation) {
  const form = make("form");
  const fields = inputs(api, operation).filter((entry) => entry.in !== "body").map((entry) => {
    const input = make("input");
    input.required = entry.in === "path";
    form.append(make("label", `${entry.name} `, input), " ");
    return { entry, input };
  });
  const schema = bodySchema(api, operation);
  const body = schema && make("textarea", JSON.stringify(example(api, schema), null, 2));
  if (body) form.append(body);
  const shown = make("pre");
  form.append(make("button", "Send"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, fields, body, shown);
  });
  const streams = Object.values(operation.responses).some((given) => (resolved(api, given).content || {})["text/event-stream"]);
  return streams ? make("p", "An event stream: follow it with curl -N.") : make("div", "", form, shown);
}

function section(api, method, path, operation) {
  const verb = make("span", method.toUpperCase());
  verb.className = `method ${method}`;
  const quiet = make("span", ` ${operation.summary || ""}`);
  quiet.className = "quiet";
  const details = make("details", "", make("summary", "", verb, make("code", path), quiet));
  details.dataset.words = `${method} ${path} ${operation.operationId} ${operation.description || operation.summary}`.toLowerCase();
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const words = make("p", operation.description || "");
    words.className = "words";
    const entries = inputs(api, operation);
    details.append(words, ...(entries.length ? [make("h4", "Takes"), rows(api, entries)] : []));
    details.append(make("h4", "Answers"), answers(api, operation), make("h4", "Try it"), trial(api, method, path, operation));
  });
  return details;
}

function show(api) {
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById("about").textContent = api.info.description;
  const tags = new Map(api.tags.map((tag) => [tag.name, make("section", "", make("h2", tag.name))]));
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((known) => operations[known])) {
      tags.get(operations[method].tags[0]).append(section(api, method, path, operations[method]));
    }
  }
  document.getElementById("operations").replaceChildren(...tags.values());
}

function filter(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const part of document.querySelectorAll("main section")) {
    const sections = [...part.querySelectorAll("details[data-words]")];
    for (const details of sections) details.hidden = !details.dataset.words.includes(wanted);
    part.hidden = sections.every((details) => details.hidden);
  }
}

document.getElementById("filter").addEventListener("input", filter);
fetch("/openapi.json").then((answer) => answer.json()).then(show, (error) => {
  document.getElementById("about").textContent = `The description cannot be read: ${error.message}`;
});
