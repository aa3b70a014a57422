"use strict";

// Makes an element: el("p", {class: "soft"}, "text", child).
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== undefined) node.setAttribute(key, value);
  }
  for (const child of children) if (child !== undefined && child !== null) node.append(child);
  return node;
}

let api;

function resolve(schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.split("/").slice(1).reduce((place, key) => place[key], api);
}

function typeOf(schema) {
  if (schema.$ref) {
    const target = resolve(schema);
    return target.enum ? target.enum.join(" | ") : schema.$ref.split("/").pop();
  }
  if (schema.type === "array") return "list of " + typeOf(schema.items);
  if (schema.type === "object" && schema.additionalProperties) return "map to " + typeOf(schema.additionalProperties);
  if (schema.enum) return schema.enum.join(" | ");
  return schema.format ? schema.type + " (" + schema.format + ")" : schema.type || "any";
}

// The object behind a schema, if there is one to unfold.
function inner(schema) {
  if (schema.type === "array") return inner(schema.items);
  if (schema.type === "object" && schema.additionalProperties) return inner(schema.additionalProperties);
  const target = resolve(schema);
  return target.properties ? target : null;
}

function fields(schema, depth) {
  const object = inner(schema);
  if (!object) return el("p", { class: "soft" }, typeOf(schema));
  const required = new Set(object.required || []);
  const body = el("tbody", {});
  for (const [name, field] of Object.entries(object.properties)) {
    const text = el("td", {}, field.description || "");
    if (inner(field) && depth < 6) {
      const more = el("details", {}, el("summary", { class: "soft" }, "fields"));
      more.addEventListener("toggle", () => { if (more.open && more.children.length === 1) more.append(fields(field, depth + 1)); });
      text.append(more);
    }
    body.append(el("tr", {}, el("td", {}, name + (required.has(name) ? " *" : "")), el("td", { class: "soft" }, typeOf(field)), text));
  }
  return el("table", { class: depth ? "nested" : undefined }, body);
}

function example(schema, depth) {
  const target = resolve(schema);
  if (target.enum) return target.enum[0];
  if (target.type === "array") return depth < 4 ? [example(target.items, depth + 1)] : [];
  if (target.type === "integer") return 1;
  if (target.type === "boolean") return false;
  if (target.type === "object") {
    if (!target.properties) return {};
    const required = new Set(target.required || []);
    const out = {};
    for (const [name, field] of Object.entries(target.properties)) {
      if (name === "currency") out[name] = "CNY";
      else if (required.has(name) || (required.size === 0 && depth === 0)) out[name] = example(field, depth + 1);
    }
    return out;
  }
  return "";
}

function trial(verb, path, operation) {
  const inputs = [];
  const form = el("div", {});
  for (const parameter of operation.parameters) {
    const input = el("input", { "aria-label": parameter.name, placeholder: parameter.required ? "required" : "" });
    if (parameter.name === "Idempotency-Key" && parameter.required) input.value = crypto.randomUUID ? crypto.randomUUID() : String(Date.now());
    inputs.push([parameter, input]);
    form.append(el("p", {}, el("label", {}, el("code", {}, parameter.name), " ", input)));
  }
  let body;
  if (operation.requestBody) {
    body = el("textarea", { "aria-label": "body", spellcheck: "false" });
    body.value = JSON.stringify(example(operation.requestBody.content["application/json"].schema, 0), null, 2);
    form.append(body);
  }
  const result = el("pre", { hidden: true });
  const send = async () => {
    let url = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const [parameter, input] of inputs) {
      if (input.value === "" && parameter.in !== "path") continue;
      if (parameter.in === "path") url = url.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
      else if (parameter.in === "query") query.append(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
    const token = document.getElementById("token").value.trim();
    if (token) headers["Authorization"] = "Bearer " + token;
    if (body) headers["Content-Type"] = "application/json";
    if (String(query)) url += "?" + query;
    result.hidden = false;
    result.textContent = "…";
    try {
      const started = performance.now();
      const answer = await fetch(url, { method: verb, headers, body: body ? body.value : undefined });
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      const lines = [answer.status + " " + answer.statusText + "  (" + Math.round(performance.now() - started) + " ms)"];
      for (const name of ["etag", "x-request-id", "x-cart-token", "idempotent-replayed", "retry-after"]) {
        if (answer.headers.has(name)) lines.push(name + ": " + answer.headers.get(name));
      }
      result.textContent = lines.join("\n") + "\n\n" + shown;
      const token = text.startsWith("{") ? (JSON.parse(text).tokens || {}).access_token : undefined;
      if (token) document.getElementById("token").value = token;
    } catch (error) {
      result.textContent = String(error);
    }
  };
  form.append(el("p", {}, el("button", { type: "button", onclick: send }, "Send")), result);
  return form;
}

function parametersTable(operation) {
  const rows = operation.parameters.map((p) => el("tr", {},
    el("td", {}, p.name + (p.required ? " *" : "")), el("td", { class: "soft" }, p.in), el("td", { class: "soft" }, typeOf(p.schema)), el("td", {}, p.description || "")));
  return rows.length ? [el("h3", {}, "Parameters"), el("table", {}, el("tbody", {}, ...rows))] : [];
}

function fill(box, verb, path, operation) {
  if (operation.description) box.append(el("p", {}, operation.description));
  box.append(...parametersTable(operation));
  if (operation.requestBody) box.append(el("h3", {}, "Body"), fields(operation.requestBody.content["application/json"].schema, 0));
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (!status.startsWith("2")) continue;
    box.append(el("h3", {}, "Answer " + status));
    if (answer.content) box.append(fields(answer.content["application/json"].schema, 0));
    else box.append(el("p", { class: "soft" }, "no body"));
  }
  const refusals = Object.keys(operation.responses).filter((status) => Number(status) >= 400);
  box.append(el("p", { class: "soft" }, "Refusals: " + refusals.join(", ") + " and the other errors of the API, all in the form of the schema Error."));
  box.append(el("h3", {}, "Try it"), trial(verb, path, operation));
}

function show() {
  const index = document.getElementById("index");
  const list = document.getElementById("operations");
  list.textContent = "";
  document.getElementById("about").textContent = api.info.description;
  const entries = [];
  for (const tag of api.tags) {
    const heading = el("h2", {}, tag.name);
    index.append(heading);
    for (const [path, verbs] of Object.entries(api.paths)) {
      for (const [verb, operation] of Object.entries(verbs)) {
        if (!operation.tags.includes(tag.name)) continue;
        const box = el("div", {});
        const needsToken = !operation.security.some((way) => Object.keys(way).length === 0);
        const node = el("details", { class: "operation", id: operation.operationId },
          el("summary", {}, el("span", { class: "verb" }, verb.toUpperCase()), el("span", { class: "path" }, path),
            el("span", { class: "soft" }, operation.summary + (needsToken ? " (token)" : ""))), box);
        node.addEventListener("toggle", () => { if (node.open && !box.children.length) fill(box, verb.toUpperCase(), path, operation); });
        const link = el("a", { href: "#" + operation.operationId, onclick: () => { node.open = true; } }, verb.toUpperCase() + " " + path);
        index.append(link);
        list.append(node);
        entries.push({ node, link, heading, text: [path, verb, operation.operationId, operation.summary, operation.description].join(" ").toLowerCase() });
      }
    }
  }
  document.getElementById("find").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const entry of entries) {
      entry.node.hidden = entry.link.hidden = !words.every((word) => entry.text.includes(word));
    }
  });
  const wanted = document.getElementById(location.hash.slice(1));
  if (wanted && wanted.tagName === "DETAILS") { wanted.open = true; wanted.scrollIntoView(); }
}

fetch("/openapi.json").then((answer) => answer.json()).then((document) => { api = document; show(); }).catch((error) => {
  document.getElementById("operations").textContent = "The description could not be loaded: " + error;
});
