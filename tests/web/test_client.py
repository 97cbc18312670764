"""The client for browsers: as it is served, and in a real Chromium, through whatever happens to server and worker."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

import zerog
from tests.examples.servers import ROOT, Processes, chromium
from tests.servers import free_port
from tests.web.builders import UNKNOWN, client, make_app

EXAMPLE = ROOT / "examples/client"
FILES = ("examples/client/app.py",)
SCRIPT = ROOT / "zerog/web/zerog.js"
PATIENCE = 60_000


def test_it_is_served_to_all_and_from_a_cache() -> None:
    """A script's request has no token."""
    for api in (client(make_app()), client(make_app(), authorize=lambda *_: False)):
        answer = api.get("/zerog.js")
        assert (answer.status_code, answer.text) == (200, SCRIPT.read_text())
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert api.get("/zerog.js", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_the_example_has_the_same_file() -> None:
    assert (EXAMPLE / "zerog.js").read_bytes() == SCRIPT.read_bytes()


def test_texts_never_become_html() -> None:
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", SCRIPT.read_text())
        == []
    )


class Site:
    """The example with a worker."""

    def __init__(self, processes: Processes) -> None:
        self.processes, self.port = processes, free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()
        self.work()
        self.app = zerog.App(processes.url)

    def start(self) -> None:
        self.server = self.processes.start("-m", "uvicorn", "app:web", "--port", str(self.port), port=self.port)

    def work(self) -> None:
        self.worker = self.processes.start(*("-m", "zerog", "worker", "app:jobs", "--lease", "1", "--concurrency", "4"))

    def submit(self, page: Page, **params: Any) -> str:
        """Submit a job by the client itself."""
        uuid: str = page.evaluate("params => window.zerog.submit('press', params).then((job) => job.uuid)", params)
        return uuid


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Processes(tmp_path_factory.mktemp("client"), EXAMPLE) as processes:
        site = Site(processes)
        yield site
        site.app.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    page = browser.new_page(reduced_motion="reduce")
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(site.url)
    page.evaluate("import('/jobs-api/zerog.js').then(({ ZeroG }) => { window.zerog = new ZeroG('/jobs-api') })")
    yield page
    page.close()
    assert troubles == []


def show(page: Page, uuid: str, **attributes: str) -> Locator:
    """An element of a job."""
    page.evaluate(
        """attributes => {
            const bar = document.createElement("zerog-progress");
            for (const [name, value] of Object.entries(attributes)) bar.setAttribute(name, value);
            window.seen = [];
            bar.addEventListener("zerog-change", (event) => window.seen.push(event.detail.completeness));
            bar.addEventListener("zerog-end", (event) => window.seen.push(event.detail.status));
            document.getElementById("jobs").prepend(bar);
        }""",
        {"src": "/jobs-api", "job": uuid, **attributes},
    )
    return page.locator("zerog-progress").first


def show_state(page: Page, job: dict[str, Any]) -> Locator:
    """An element of a job that stays as it is."""
    page.evaluate(
        """job => {
            const bar = document.createElement("zerog-progress");
            bar.client = { follow: async function* () { yield job; await new Promise(() => {}); } };
            bar.setAttribute("job", "1");
            document.getElementById("jobs").prepend(bar);
        }""",
        job,
    )
    return page.locator("zerog-progress").first


def see(element: Locator, status: str, percent: str | None = None) -> None:
    expect(element.locator(".status")).to_have_text(status, timeout=PATIENCE)
    if percent is not None:
        expect(element.locator(".percent")).to_have_text(percent, timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.browser
class TestElement:
    def test_a_bar_grows_to_the_end(self, page: Page, site: Site) -> None:
        uuid = site.submit(page, sheets=4, seconds=0.7)
        element = show(page, uuid)
        see(element, "succeeded", "100 %")
        seen = page.evaluate("window.seen")
        assert seen[-1] == "succeeded"
        assert seen[:-1] == sorted(seen[:-1]) and len(set(seen)) >= 4
        bar = element.get_by_role("progressbar")
        expect(bar).to_have_attribute("aria-valuenow", "100")
        expect(bar).to_have_attribute("aria-valuetext", "100 %, succeeded")
        expect(bar).to_have_accessible_name("press")
        assert page.evaluate("uuid => window.zerog.data(uuid)", uuid) == {"sheets": 4}

    def test_a_failed_job_names_its_reason(self, page: Page, site: Site) -> None:
        element = show(page, site.submit(page, sheets=4, seconds=0, bad=2), label="<b>Sheets</b>")
        see(element, "failed", "50 %")
        expect(element.locator(".note").first).to_have_text("sheet 2 is torn")
        expect(element.locator(".label")).to_have_text("<b>Sheets</b>")

    def test_a_job_is_cancelled_by_its_button(self, page: Page, site: Site) -> None:
        element = show(page, site.submit(page, sheets=100, seconds=0.3), cancellable="")
        see(element, "running")
        element.get_by_role("button", name="Cancel").click()
        see(element, "cancelled")
        expect(element.get_by_role("button")).to_have_count(0)

    def test_what_is_no_job_is_named(self, page: Page, site: Site) -> None:
        element = show(page, UNKNOWN)
        see(element, "unknown")
        expect(element.locator(".trouble")).to_have_text(f"there is no job {UNKNOWN}")

    @pytest.mark.parametrize(
        ("known", "words"),
        [
            ({"eta_low": 126.0, "eta_high": 234.0}, "2 to 4 min left."),
            ({"eta_low": 40.4, "eta_high": 5_400.0}, "40 s to 1.5 h left."),
            ({"eta_low": 7_000.0, "eta_high": 7_100.0}, "About 2 h left."),
            ({"eta_low": 0.0, "eta_high": 0.3}, "Nearly done."),
            ({}, ""),
            ({"quiet_for": 240, "eta_low": 10.0, "eta_high": 20.0}, "No progress for 4 min."),
            ({"quiet_for": 7_200, "stalled": True}, "No progress for 2 h."),
        ],
    )
    def test_the_time_that_is_left_is_a_range(self, known: dict[str, Any], words: str, page: Page) -> None:
        """And a job that is quiet has none."""
        job = {"status": "running", "jobType": "press", "completeness": 0.5, "quiet_for": 0, **known}
        element = show_state(page, job)
        see(element, "stalled" if "stalled" in known else "running", "50 %")
        expect(element.locator(".note").first).to_have_text(words)

    @pytest.mark.parametrize("width", [320, 1000])
    def test_texts_of_a_job_are_text_and_cut(self, page: Page, width: int) -> None:
        """Whatever its type, status and error contain; the figures beside them stay in one line."""
        page.set_viewport_size({"width": width, "height": 600})
        attack = "<img src=x onerror='window.owned = 1'><script>window.owned = 1</script>" + "W" * 300
        error = {"msg": attack, "type": attack, "errorCode": 500, "timestamp": attack}
        job = {"status": "failed", "jobType": attack, "completeness": 0.75, "result": 500, "lastError": error}
        element = show_state(page, job)
        expect(element.locator(".label")).to_have_text(attack)
        expect(element.locator(".note").first).to_contain_text(attack)
        assert element.locator("img, script").count() == 0
        assert page.evaluate("window.owned") is None
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert element.locator(".percent").evaluate("part => part.getBoundingClientRect().height") < 30

    def test_it_may_show_another_job(self, page: Page, site: Site) -> None:
        element = show(page, site.submit(page, sheets=1, seconds=0))
        see(element, "succeeded")
        page.evaluate(
            "uuid => document.querySelector('zerog-progress').setAttribute('job', uuid)",
            site.submit(page, sheets=4, seconds=0, bad=1),
        )
        see(element, "failed", "25 %")

    def test_what_leaves_the_page_follows_no_more(self, page: Page, site: Site) -> None:
        element = show(page, site.submit(page, sheets=100, seconds=0.1))
        see(element, "running")
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/stream"), timeout=PATIENCE):
            page.evaluate("document.querySelector('zerog-progress').remove()")


@pytest.mark.slow
@pytest.mark.browser
class TestTrouble:
    def test_a_killed_worker_is_replaced(self, page: Page, site: Site) -> None:
        element = show(page, site.submit(page, sheets=10, seconds=0.3))
        expect(element.locator(".percent")).to_have_text(re.compile(r"[2-9]0 %"), timeout=PATIENCE)
        site.worker.send_signal(signal.SIGKILL)
        site.worker.wait()
        site.work()
        see(element, "succeeded", "100 %")
        shares = page.evaluate("window.seen")[:-1]
        assert shares == sorted(shares)

    def test_a_server_that_is_restarted_is_found_again(self, page: Page, site: Site) -> None:
        element = show(page, site.submit(page, sheets=10, seconds=0.5))
        see(element, "running")
        site.server.kill()
        site.server.wait()
        expect(element.locator(".trouble")).to_have_text("The server can't be reached. Trying again…", timeout=PATIENCE)
        site.start()
        see(element, "succeeded", "100 %")
        expect(element.locator(".trouble")).to_be_hidden()

    def test_a_submit_whose_answer_was_lost_makes_one_job(self, page: Page, site: Site) -> None:
        """It is sent again under the same uuid."""
        sent: list[str] = []

        def lose(route: Route) -> None:
            sent.append(route.request.post_data_json["uuid"])
            if len(sent) == 1:
                route.fetch()
                route.abort()
            else:
                route.continue_()

        page.route("**/jobs-api/jobs", lose)
        uuid = site.submit(page, sheets=1, seconds=0)
        assert sent == [uuid, uuid]
        see(show(page, uuid), "succeeded")

    def test_a_tab_that_slept_shows_what_happened_meanwhile(self, page: Page, site: Site) -> None:
        """Also if the connection and the server are other ones by then."""
        uuid = site.submit(page, sheets=10, seconds=0.2)
        element = show(page, uuid)
        see(element, "running")
        tab = page.context.new_cdp_session(page)
        tab.send("Page.setWebLifecycleState", {"state": "frozen"})
        site.server.kill()
        site.server.wait()
        site.start()
        site.processes.until(lambda: site.app.progress(uuid)["status"] == "succeeded", "the job ends")
        tab.send("Page.setWebLifecycleState", {"state": "active"})
        see(element, "succeeded", "100 %")

    @pytest.mark.parametrize("status", [503, 406, 200])
    def test_without_streams_it_polls(self, status: int, page: Page, site: Site) -> None:
        """Too many are open, or something on the way has none: then the state is asked for, unless it is the same."""
        polls: list[Any] = []
        page.route("**/stream", lambda route: route.fulfill(status=status, json={"detail": "no streams"}))
        uuid = site.submit(page, sheets=4, seconds=1.5)
        page.on("response", lambda answer: polls.append(answer.status) if answer.url.endswith(uuid) else None)
        element = show(page, uuid)
        see(element, "running")
        see(element, "succeeded", "100 %")
        assert polls.count(200) >= 3
        expect(element.locator(".trouble")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures(scheme: Any, browser: Browser, site: Site, tmp_path: Path) -> None:
    """The picture of the documentation can be made, and texts stand out from their ground."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 600, "height": 460}, reduced_motion="reduce")
    page.goto(site.url)
    page.evaluate("import('/jobs-api/zerog.js').then(({ ZeroG }) => { window.zerog = new ZeroG('/jobs-api') })")
    show(page, site.submit(page, sheets=10, seconds=1), label="Annual report", cancellable="")
    show(page, site.submit(page, sheets=4, seconds=0, bad=3), label="Invoices")
    show(page, site.submit(page, sheets=1, seconds=0), label="Thumbnails")
    expect(page.locator("zerog-progress .status")).to_have_text(["succeeded", "failed", "running"], timeout=PATIENCE)
    expect(page.locator("zerog-progress .percent").last).to_have_text(re.compile(r"[2-9]0 %"), timeout=PATIENCE)
    for part in (".status", ".percent", ".note"):
        for element in page.locator(f"zerog-progress {part}:visible").all():
            assert contrast(element) >= 4.5, (scheme, part, element.text_content())
    page.screenshot(path=str(tmp_path / f"element_{scheme}.png"))
    assert (tmp_path / f"element_{scheme}.png").stat().st_size > 5_000
    page.close()


def contrast(element: Locator) -> float:
    """The contrast of a text with the page, as WCAG defines it."""
    ground, text = element.evaluate(
        """element => {
            const paint = document.createElement("canvas").getContext("2d");
            const shown = (colour) => {
                paint.fillStyle = colour;
                paint.fillRect(0, 0, 1, 1);
                return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const dark = matchMedia("(prefers-color-scheme: dark)").matches;
            return [shown(dark ? "#121212" : "#ffffff"), shown(getComputedStyle(element).color)];
        }"""
    )

    def light(colour: list[int]) -> float:
        parts = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((light(ground), light(text)), reverse=True)
    return (high + 0.05) / (low + 0.05)
