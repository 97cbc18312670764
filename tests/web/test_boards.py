"""The alerts and the board in ``examples/deploy``: every expression parses, and every name and label exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from tests.acceptance.harness import ROOT
from tests.web.builders import client, make_app

DEPLOY = ROOT / "examples" / "deploy"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
SUFFIXES = {"summary": ("_sum", "_count"), "histogram": ("_sum", "_count", "_bucket")}


def real_names() -> set[str]:
    """The names of all series that ``/metrics`` may have."""
    text = client(make_app()).get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    return {name + suffix for name, kind in kinds.items() for suffix in SUFFIXES.get(kind, ("",))}


def documented() -> dict[str, set[str]]:
    """By name, the labels in the tables of the page."""
    rows = re.findall(r"^\| `(zerog_\w+?)(?:\{([\w,]+)\})?` \|", PAGE, re.MULTILINE)
    found = {}
    for name, labels in rows:
        for suffix in ("", "_sum", "_count", "_bucket"):
            found[name + suffix] = {*labels.split(","), *(["le"] if suffix == "_bucket" else [])} - {""}
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
    return content


def expressions() -> dict[str, str]:
    """All of them, by where they are; a variable of Grafana has a value."""
    of_alerts = {rule["alert"]: rule["expr"] for rule in alerts()}
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in board()["panels"]
        for target in panel["targets"]
    }
    return {**of_alerts, **panels}


def selectors(node: Any) -> Iterator[tuple[str, set[str]]]:
    """The series that an expression asks for, each with the labels that it is chosen by."""
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name), {matcher.name for matcher in node.matchers.matchers}
    for part in ("vector_selector", "vs", "lhs", "rhs", "expr"):
        if (inner := getattr(node, part, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or ():
        yield from selectors(inner)


@pytest.mark.parametrize("where", expressions())
def test_an_expression_asks_for_what_there_is(where: str) -> None:
    parsed = promql_parser.parse(expressions()[where])
    found = list(selectors(parsed))
    assert found, "it asks for nothing"
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"(?:by|on) \(([\w, ]+)\)", expressions()[where]))))
    labels = documented()
    for name, chosen in found:
        assert name in real_names()
        assert chosen <= labels[name]
    assert grouped <= set().union(*(labels[name] for name, _ in found))


def test_every_expression_is_walked() -> None:
    """The walk finds as many names as the text has."""
    for text in expressions().values():
        found = [name for name, _ in selectors(promql_parser.parse(text))]
        assert sorted(found) == sorted(re.findall(r"zerog_\w+", text)), text


def test_texts_of_alerts_use_labels_that_are_left() -> None:
    for rule in alerts():
        used = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
        assert all(re.search(rf"by \([^)]*{label}", rule["expr"]) or label in kept(rule["expr"]) for label in used), (
            rule
        )


def kept(expression: str) -> set[str]:
    return {} if " by (" in expression else documented()[re.findall(r"zerog_\w+", expression)[0]]  # type: ignore[return-value]


def test_the_page_names_all_figures_and_all_alerts() -> None:
    assert real_names() == real_names() & documented().keys()
    assert re.findall(r"^\| `(Zerog\w+)`", PAGE, re.MULTILINE) == [rule["alert"] for rule in alerts()]


def test_the_alerts_that_nobody_else_has_are_there() -> None:
    by_name = {rule["alert"]: rule for rule in alerts()}
    assert by_name["ZerogNoProgress"]["expr"] == "zerog_stalled_jobs > 0"
    assert by_name["ZerogTooNewDocumentsWaiting"]["expr"] == "zerog_jobs_too_new > 0"
    for rule in alerts():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["description"]
        taken |= cells
    assert len({panel["id"] for panel in board()["panels"]}) == len(board()["panels"])
