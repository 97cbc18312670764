"""The description as a page: plain HTML without scripts, and nothing from other hosts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Any

from zerog.support.texts import clean
from zerog.web.answer import Answer
from zerog.web.call import Call
from zerog.web.description import describe
from zerog.web.guard import HEADERS

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
:root { color-scheme: light dark; }
code { font: 0.9em ui-monospace, monospace; }
summary { cursor: pointer; padding: 0.2rem 0; }
summary b { display: inline-block; min-width: 4.5rem; }
p, summary, td, th { overflow: clip; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem 1rem; }
th { min-width: 10rem; }
td, th { text-align: left; vertical-align: top; padding: 0.15rem 1rem 0.15rem 0; }
@media (max-width: 40rem) { table { margin-left: 0; } th { min-width: 4rem; } }
"""


_in_backticks = re.compile("`([^`]+)`")


def page(call: Call) -> Answer:
    """Return the page."""
    nonce = secrets.token_urlsafe(16)
    content = "".join(_lines(describe(call), nonce, call.link("/openapi.json")))
    policy = HEADERS["Content-Security-Policy"].replace("style-src 'self'", f"style-src 'nonce-{nonce}'")
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
    return Answer(headers=headers, text=content)


def _lines(spec: dict[str, Any], nonce: str, source: str) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ZeroG: REST API</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<style nonce="{nonce}">{STYLE}</style></head><body><h1>ZeroG: REST API</h1>'
    yield f'<p>{_prose(spec["info"]["description"])} The same for programs: <a href="{_escaped(source)}">'
    yield "openapi.json</a>.</p>"
    operations = [
        (method, path, operation)
        for path, by_method in spec["paths"].items()
        for method, operation in by_method.items()
    ]
    for group, members in groupby(operations, key=lambda found: found[2]["tags"][0]):
        yield f"<h2>{_escaped(group)}</h2>"
        for method, path, operation in members:
            yield from _operation(method, path, operation)
    yield "<h2>Schemas</h2>"
    for name, schema in sorted(spec["components"]["schemas"].items()):
        yield f'<details id="{_escaped(name)}"><summary><code>{_escaped(name)}</code> '
        yield f"{_prose(str(schema.get('description', '')))}</summary>{_table(_properties(schema))}</details>"
    yield "</body></html>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b>{method.upper()}</b> <code>{_escaped(path)}</code> {_prose(operation['summary'])}"
    yield "</summary>"
    taken = [
        (f"{p['name']} ({p['in']})", f"{p.get('description', '')} {_kind(p['schema'])}")
        for p in operation.get("parameters", [])
    ]
    if "requestBody" in operation:
        taken.append(("body", _kind(operation["requestBody"]["content"]["application/json"]["schema"])))
    yield _table(taken)
    yield _table([(status, answer["description"]) for status, answer in operation["responses"].items()])
    yield "</details>"


def _properties(schema: dict[str, Any]) -> list[tuple[str, str]]:
    required = schema.get("required", [])
    return [
        (name, f"{part.get('description', '')} {_kind(part)}{', required' if name in required else ''}")
        for name, part in schema.get("properties", {}).items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    """Return in short what values a schema takes."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "oneOf" in schema:
        return "one of " + ", ".join(part.get("title") or _kind(part) for part in schema["oneOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = schema.get("type", "any value")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _escaped(text: str) -> str:
    """Return a text as HTML, without marks that hide or reverse what stands beside it."""
    return escape(clean(text))


def _prose(text: str) -> str:
    """Return a text as HTML, with what is between backticks as code."""
    return _in_backticks.sub(r"<code>\1</code>", _escaped(text))


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f"<tr><th><code>{_escaped(name)}</code></th><td>{_prose(text)}</td></tr>" for name, text in rows)
    return f"<table>{''.join(cells)}</table>" if rows else ""
