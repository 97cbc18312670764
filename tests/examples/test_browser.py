"""The web examples as a user sees them: real servers, a real worker, a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from marshmallow import fields
from playwright.sync_api import Browser, Page, expect

import zerog
from tests.examples import pictures
from tests.examples.servers import COMMANDS, Processes, Silent, away, chromium, stalled_job
from tests.hostile import TEXTS
from tests.processes import stretched
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FLASK = "examples/web/flask_app.py"
PATIENCE = 30_000
"""Timeout for anything to appear, in milliseconds."""


class Site:
    """One application with a worker."""

    def __init__(self, example: str, processes: Processes) -> None:
        self.example = example
        self.processes = processes
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()
        self.worker = processes.work()
        self.app = zerog.App(processes.url)
        self.app.register(Silent)

    def start(self) -> None:
        self.server = self.processes.serve(self.example, self.port)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=COMMANDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Processes(tmp_path_factory.mktemp("site")) as processes:
        site = Site(request.param, processes)
        yield site
        site.app.close()


only_flask = pytest.mark.parametrize("site", [FLASK], indirect=True)
"""For tests of the page alone, which all three share."""


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page as it is opened first; fail if its script does, or if its policy stopped something."""
    page = browser.new_page(reduced_motion="reduce")
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda message: (
            troubles.append(message.text)
            if message.type == "error" and not message.text.startswith("Failed to load resource")
            else None
        ),
    )
    page.goto(site.url)
    yield page
    page.close()
    assert troubles == []


def see(page: Page, status: str, percent: str | None = None) -> None:
    expect(page.locator("#status")).to_have_text(status, timeout=PATIENCE)
    if percent is not None:
        expect(page.locator("#percent")).to_have_text(percent, timeout=PATIENCE)


def share(page: Page) -> float:
    """The filled part of the bar, as drawn."""
    done, bar = page.locator("#done").bounding_box(), page.locator("#bar").bounding_box()
    assert done is not None and bar is not None
    return done["width"] / bar["width"]


def test_the_bar_grows_and_the_result_is_shown(page: Page, site: Site) -> None:
    pictures.submit(page, pictures.ROWS, pace=0.8)
    see(page, "running")
    seen = [(share(page), page.locator("#history li").count())]
    deadline = time.monotonic() + stretched(30)
    while seen[-1] != (1.0, 5) and time.monotonic() < deadline:
        now = (share(page), page.locator("#history li").count())
        if now != seen[-1]:
            seen.append(now)
    shares, events = zip(*seen, strict=True)
    assert list(shares) == sorted(shares) and list(events) == sorted(events)
    assert shares[-1] == 1.0
    assert len({share for share in shares if 0 < share < 1}) >= 2
    assert len({count for count in events if 0 < count < 5}) >= 2  # they arrive while it runs
    see(page, "succeeded", "100 %")
    expect(page.locator("#result")).to_have_text(re.compile(r"rows\s*5\s*total\s*44\.50"), timeout=PATIENCE)
    expect(page.locator("#history li")).to_have_count(5)
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_the_address_leads_back_to_the_job(page: Page, site: Site, browser: Browser) -> None:
    pictures.submit(page, pictures.ROWS, pace=0)
    see(page, "succeeded")
    again = browser.new_page()
    again.goto(page.url)
    see(again, "succeeded", "100 %")
    again.close()


def test_a_failed_job_stays_where_it_was_red_and_with_its_reason(page: Page, site: Site) -> None:
    pictures.submit(page, pictures.WRONG, pace=0)
    see(page, "failed", "60 %")
    assert share(page) == pytest.approx(0.6, abs=0.01)
    expect(page.locator("#note")).to_contain_text("line 4 is 'Barbara, twenty'; expected")
    for part, colour in (("#done", "background-color"), ("#status", "color"), ("#note", "color")):
        expect(page.locator(part)).to_have_css(colour, "rgb(198, 40, 40)")
    expect(page.locator("#result")).to_be_hidden()


def test_a_job_is_cancelled_by_its_button(page: Page, site: Site) -> None:
    pictures.submit(page, pictures.ROWS, pace=1)
    see(page, "running")
    page.get_by_role("button", name="Cancel").click()
    see(page, "cancelled")
    expect(page.locator("#note")).to_have_text("Stopped on request.")
    assert share(page) < 1.0
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


@pytest.mark.parametrize(
    ("uuid", "words"), [(pictures.UNKNOWN, "there is no job"), ("nonsense", "is no job uuid"), ("%2e%2e", "no job")]
)
def test_what_is_no_job_is_named(uuid: str, words: str, page: Page, site: Site) -> None:
    page.goto(f"{site.url}#{uuid}")
    see(page, "unknown")
    expect(page.locator("#note")).to_contain_text(words)
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_job_s_words_are_never_html(page: Page, site: Site) -> None:
    attack = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>'
    pictures.submit(page, [f"{attack}, 1.00", attack], pace=0)
    see(page, "failed", "50 %")
    expect(page.locator("#history li").first).to_contain_text(f"1.00 from {attack}")
    expect(page.locator("#note")).to_contain_text("line 2 is '<img src=x onerror")
    assert page.locator("#job img, #job script").count() == 0
    assert page.evaluate("window.hit") is None


@only_flask
def test_the_corpus_stays_within_its_place(page: Page, site: Site) -> None:
    """As names in events and as the reason of a failure: nothing runs, nothing is wider, or drawn over other parts."""
    for name, text in TEXTS.items():
        line = text.splitlines()[0][:4000]
        answer = page.request.post(f"{site.url}jobs", data={"rows": f"{line}, 1.00\n{line}", "pace": 0})
        assert answer.status == 202, name
        page.goto(f"{site.url}#{answer.json()['uuid']}")
        see(page, "failed")
        expect(page.locator("#note")).not_to_be_empty(timeout=PATIENCE)
        assert page.evaluate("[window.hit, window.owned, document.title]") == [None, None, "Import"], name
        assert page.locator("#job :is(img, script, iframe, a)").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
        assert page.evaluate(PILED) == [], name


PILED = """
[...document.querySelectorAll('#note, #history span, #result dd')].filter(
    part => /\\p{M}{9}/u.test(part.textContent) && getComputedStyle(part).overflow === 'visible'
).map(part => part.id || part.parentElement.parentElement.id)
"""
"""Where piles of combining marks are painted over other parts."""


def test_wrong_values_are_marked_at_their_fields(page: Page, site: Site) -> None:
    pictures.submit(page, [], pace=0)
    wrong = page.locator(".wrong[data-field=rows]")
    expect(wrong).to_have_text("Length must be between 1 and 10000.", timeout=PATIENCE)
    page.get_by_label("Seconds a row").fill("fast")
    page.get_by_role("button", name="Import").click()
    expect(page.locator(".wrong[data-field=pace]")).to_have_text(
        fields.Float().error_messages["invalid"], timeout=PATIENCE
    )
    expect(page.get_by_label("Seconds a row")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#job")).to_be_hidden()
    pictures.submit(page, pictures.ROWS, pace=0)
    see(page, "succeeded")
    expect(wrong).to_have_text("")


@only_flask
def test_waiting_scheduled_and_stalled_jobs_are_shown_as_such(page: Page, site: Site) -> None:
    later = site.app.submit(Silent, delay=3600, queue="unserved")
    page.goto(f"{site.url}#{later.uuid}")
    see(page, "scheduled", "0 %")
    expect(page.locator("#note")).to_contain_text("Starts at ")
    waiting = site.app.submit(Silent, queue="nowhere")
    page.goto(f"{site.url}#{waiting.uuid}")
    see(page, "queued", "0 %")
    expect(page.locator("#note")).to_have_text("Waits for a worker.")
    page.goto(f"{site.url}#{stalled_job(site.app.datastore.file.path)}")
    see(page, "stalled", "0 %")
    expect(page.locator("#note")).to_contain_text("No sign of it since ")


@only_flask
def test_the_page_outlasts_a_datastore_that_is_down(page: Page, site: Site) -> None:
    waiting = site.app.submit(Silent, queue="nowhere")
    page.goto(f"{site.url}#{waiting.uuid}")
    see(page, "queued")
    with away(site.app):
        expect(page.locator("#trouble")).to_have_text(
            "The jobs can't be reached at the moment. Trying again…", timeout=PATIENCE
        )
        page.get_by_role("button", name="Import").click()
        expect(page.locator(".wrong[data-field='']")).to_have_text(
            "The jobs can't be reached at the moment.", timeout=PATIENCE
        )
    expect(page.locator("#trouble")).to_be_hidden(timeout=PATIENCE)
    see(page, "queued")


@only_flask
def test_the_page_outlasts_a_restart_of_the_server(page: Page, site: Site) -> None:
    waiting = site.app.submit(Silent, queue="nowhere")
    page.goto(f"{site.url}#{waiting.uuid}")
    see(page, "queued")
    site.processes.stop(site.server)
    expect(page.locator("#trouble")).to_have_text("The server can't be reached. Trying again…", timeout=PATIENCE)
    site.app.cancel(waiting.uuid)
    site.start()
    see(page, "cancelled")
    expect(page.locator("#trouble")).to_be_hidden()


def test_the_pictures_of_the_documentation_can_be_made(browser: Browser, tmp_path: Path) -> None:
    pictures.make(browser, tmp_path)
    for name in pictures.STATES:
        assert 5_000 < (tmp_path / f"{name}.png").stat().st_size < 100_000
        assert (pictures.FOLDER / f"{name}.png").exists()
