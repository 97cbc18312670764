"""Makes the pictures of the documentation from the running example: ``python -m tests.examples.pictures [FOLDER]``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.examples.servers import ROOT, Processes, chromium
from tests.servers import free_port

FOLDER = ROOT / "docs/pictures"
ROWS = ["Ada, 12.50", "Grace, 7.25", "Edsger, 3.00", "Barbara, 20.00", "Alan, 1.75"]
WRONG = [*ROWS[:3], "Barbara, twenty", ROWS[4]]
UNKNOWN = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"


def submit(page: Page, rows: list[str], pace: float) -> None:
    """Fill in the form as a user does."""
    page.locator("textarea").fill("\n".join(rows))
    page.get_by_label("Seconds a row").fill(str(pace))
    page.get_by_role("button", name="Import").click()


def running(page: Page) -> None:
    """Two of five rows are done, and the rest take their time."""
    submit(page, ROWS, 3)
    expect(page.locator("#percent")).to_have_text("40 %", timeout=30_000)
    expect(page.locator("#history li")).to_have_count(2, timeout=30_000)


def done(page: Page) -> None:
    submit(page, ROWS, 0)
    expect(page.locator("#result")).to_contain_text("44.50", timeout=30_000)


def failed(page: Page) -> None:
    submit(page, WRONG, 0)
    expect(page.locator("#status")).to_have_text("failed", timeout=30_000)


def cancelled(page: Page) -> None:
    submit(page, ROWS, 3)
    expect(page.locator("#percent")).to_have_text("20 %", timeout=30_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("cancelled", timeout=30_000)


def unknown(page: Page) -> None:
    page.goto(f"{page.url}#{UNKNOWN}")
    expect(page.locator("#status")).to_have_text("unknown", timeout=30_000)


STATES: dict[str, Callable[[Page], None]] = {
    "running": running,
    "done": done,
    "failed": failed,
    "cancelled": cancelled,
    "unknown": unknown,
}
WHOLE, DARK = {"running"}, {"done"}
"""Which are pictures of the whole page rather than of the job alone, and which are dark."""


def make(browser: Browser, folder: Path) -> None:
    """Make a PNG of each state in ``folder``."""
    with tempfile.TemporaryDirectory() as scratch, Processes(Path(scratch)) as processes:
        port = free_port()
        processes.serve("examples/web/flask_app.py", port)
        processes.work()
        for name, bring_about in STATES.items():
            page = browser.new_page(
                viewport={"width": 640, "height": 400},
                device_scale_factor=1.5,
                reduced_motion="reduce",
                locale="en-GB",
                color_scheme="dark" if name in DARK else "light",
            )
            page.goto(f"http://127.0.0.1:{port}/")
            bring_about(page)
            page.locator("body" if name in WHOLE else "#job").screenshot(path=folder / f"{name}.png")
            page.close()


if __name__ == "__main__":
    with chromium() as browser:
        make(browser, Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
