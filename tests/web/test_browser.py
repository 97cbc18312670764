"""What ``zerog web`` serves, in a real browser: the corpus of hostile texts is text on each page and in each answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from tests.cli.builders import APP, Shop
from tests.cli.corpus import filled
from tests.examples.servers import Processes, chromium
from tests.hostile import NAMES, TEXTS, unsafe
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CORPUS = ("=HYPERLINK", "</script><script>", r"\u202eexe.elif", TEXTS["combining"])
"""What is on the page, as it is shown."""

TYPES = """
from tests.hostile import NAMES, TEXTS
from zerog.exceptions import InvalidJobClass

for number, text in enumerate([*TEXTS.values(), *NAMES]):
    named = {text: fields.String()}
    described = fields.String(required=True, metadata={"description": text, "title": text})
    parts = {"described": described, text.replace(".", ""): fields.Integer()}
    part = fields.Nested(Schema.from_dict(parts, name=f"Part{number}"))
    for name, own in ((text, {}), (f"own-{number}", named), (f"titled-{number}", {"part": part})):
        members = {
            "JOB_TYPE": name, "TITLE": text, "__doc__": text, "run": lambda job: 200,
            "Params": Schema.from_dict({"plain": described, **own}, name=f"Params{number}"),
        }
        try:
            app.register(type(f"Hostile{number}", (zerog.BaseJob,), members))
        except InvalidJobClass:
            continue  # no such name can be there
"""


class Site:
    """A running ``zerog web`` over jobs, workers, queues, schedules and types full of the corpus."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.shop = Shop(folder)
        (folder / "myapp.py").write_text(APP + TYPES)
        self.jobs = filled(self.shop)
        port = free_port()
        processes.start("-m", "zerog", "web", "myapp:app", "--port", str(port), port=port)
        self.url = f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Processes(folder, folder) as processes:
        made = Site(folder, processes)
        yield made
        made.shop.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Fail if anything runs, asks for a file elsewhere, opens a window, or is in the console as an error."""
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("popup", lambda popup: troubles.append(popup.url))
    page.on("request", lambda request: None if "//127.0.0.1:" in request.url else troubles.append(request.url))
    page.on(
        "console",
        lambda message: (
            troubles.append(message.text)
            if message.type == "error" and not message.text.startswith("Failed to load resource")
            else None
        ),
    )
    yield page
    page.close()
    assert troubles == []


def check_nothing_ran(page: Page) -> None:
    assert page.evaluate("[window.owned, document.title.includes('owned')]") == [None, False]


def test_the_description_is_laid_out_as_it_is_for_any_app(site: Site, page: Page) -> None:
    """No element but the page's own, nothing wider than the window, and no text that reverses what stands beside it."""
    page.goto(f"{site.url}/docs")
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    check_nothing_ran(page)
    kinds = page.evaluate("[...new Set([...document.body.querySelectorAll('*')].map(part => part.localName))].sort()")
    assert set(kinds) <= {"a", "b", "code", "details", "h1", "h2", "p", "summary", "table", "tbody", "td", "th", "tr"}
    assert page.evaluate("document.querySelectorAll('a').length") == 1
    assert [text for text in CORPUS if page.get_by_text(text).count() == 0] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert unsafe(page.inner_text("body").replace("\t", "")) == ""
    assert page.evaluate(PILED) == []


PILED = """
[...document.querySelectorAll('summary, td, th, p')].filter(
    part => /\\p{M}{9}/u.test(part.textContent) && getComputedStyle(part).overflow === 'visible'
).map(part => part.textContent.slice(0, 40))
"""
"""The parts whose piles of combining marks are painted over their neighbours."""


def paths(site: Site, description: dict[str, Any]) -> Iterator[str]:
    """Each path that may be read, with each job, and with names of the corpus for what else it names."""
    texts = [*TEXTS.values(), *NAMES, "word_count", "a"]
    for path, methods in description["paths"].items():
        if "get" not in methods or path.endswith("/stream"):
            continue
        named = path.partition("{")[2].partition("}")[0]
        values = [*site.jobs["damaged"], *site.jobs["ended"], *texts] if named == "uuid" else texts
        for value in values if named else [""]:
            yield path.replace(f"{{{named}}}", quote(value, safe=""))


def test_every_answer_is_shown_as_text(site: Site, page: Page) -> None:
    """A browser that is led to an answer shows it, and takes nothing in it for HTML."""
    description = page.request.get(f"{site.url}/openapi.json").json()
    visited = 0
    for path in paths(site, description):
        answer = page.goto(f"{site.url}{path}")
        assert answer is not None
        assert answer.headers["x-content-type-options"] == "nosniff"
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in ("application/json", "application/problem+json", "text/plain", "text/html"), path
        assert (kind == "text/html") == page.url.endswith("/docs")
        check_nothing_ran(page)
        assert page.evaluate("document.querySelectorAll('script, img, iframe, object, form').length") == 0, path
        visited += 1
    assert visited > 300
