"""The import of CSV files in ``examples/imports``: exact whatever is killed, and as a user sees it."""

from __future__ import annotations

import importlib
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page, expect

from tests.examples.servers import ROOT, Processes, chromium
from tests.processes import program
from tests.servers import free_port
from zerog.testing import drain, isolated

FILES = ("examples/imports/imports.py", "examples/imports/web.py")
FOLDER = (ROOT / FILES[0]).parent
FAULTS = {
    "2026-02-30,Bonn,1.00": "day is out of range for month",
    "2026-02-03,Bonn,twelve": "'twelve' is no amount such as 12.50",
    "2026-02-03,Bonn": "not enough values to unpack (expected 3, got 2)",
}


def parts() -> list[Path]:
    """The files of the example, without what it writes when it is run."""
    return [*FOLDER.glob("*.py"), *FOLDER.glob("*.html")]


@dataclass
class Expected:
    """A file, and what must come of it."""

    path: Path
    rows: list[tuple[int, str, str, int]]
    warnings: list[str]

    @property
    def months(self) -> Counter[str]:
        months: Counter[str] = Counter()
        for _, day, _, cents in self.rows:
            months[day[:7]] += cents
        return months


def write_file(path: Path, length: int) -> Expected:
    """Write a file of so many rows below its heading, of which every hundredth has a fault."""
    expected = Expected(path, [], [])
    lines = ["day,shop,amount"]
    for number in range(2, length + 2):
        if number % 100 == 0:
            line, fault = list(FAULTS.items())[number // 100 % 3]
            expected.warnings.append(f"row {number}: {fault}")
        else:
            day, shop, cents = (
                str(date(2025, 1, 1) + timedelta(number % 365)),
                f"Shop {number % 7}",
                number * 37 % 99_999,
            )
            expected.rows.append((number, day, shop, cents))
            line = f"{day},{shop},{cents // 100}.{cents % 100:02}"
        lines.append(line)
    path.write_text("\n".join(lines) + "\n")
    return expected


def sales(folder: Path, job: str) -> list[tuple[int, str, str, int]]:
    """The rows in the application's database that came from this job."""
    with closing(sqlite3.connect(folder / "sales.db")) as database:
        return database.execute("SELECT row, day, shop, cents FROM sales WHERE job = ? ORDER BY row", [job]).fetchall()


def check_chart(svg: str, months: Counter[str]) -> None:
    """A bar of each month, as high as its sum, with both written at it."""
    root = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    heights = [float(bar.attrib["height"]) for bar in root.iter(f"{name}rect")]
    highest = max(months.values())
    assert heights == pytest.approx([200 * months[month] / highest for month in sorted(months)], abs=1)
    texts = [text.text for text in root.iter(f"{name}text")]
    assert texts == [text for month in sorted(months) for text in (f"{months[month] // 100:,}", month)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, as the current folder."""
    folder = tmp_path / "imports"
    folder.mkdir()
    for part in parts():
        shutil.copy(part, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the copy."""
    monkeypatch.syspath_prepend(str(folder))
    names = [Path(file).stem for file in FILES]
    modules = SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    yield modules
    modules.imports.app.close()
    for name in names:
        del sys.modules[name]


def test_it_is_small() -> None:
    """The application and its page have fewer than 150 lines."""
    assert sum(len(path.read_text().splitlines()) for path in parts()) < 150


def test_a_file_is_uploaded_imported_and_drawn(example: SimpleNamespace, folder: Path) -> None:
    expected = write_file(folder / "sales.csv", 2_500)
    with isolated(example.imports.app):
        client = example.web.web.test_client()
        answer = client.post("/imports", data=expected.path.read_bytes(), content_type="text/csv")
        assert answer.status_code == 202
        path = f"/jobs/{answer.json['uuid']}"
        assert client.get(path).json["status"] == "queued"
        drain(example.imports.app)
        assert (client.get(path).json["status"], client.get(path).json["completeness"]) == ("succeeded", 1.0)
        result = client.get(f"{path}/result").json
        assert (result["rows"], result["faults"], result["warnings"]) == (2_500, 25, expected.warnings)
        assert sales(folder, answer.json["uuid"]) == expected.rows
        check_chart(client.get(f"/jobs/{result['chart']}/result").json["svg"], expected.months)


@pytest.mark.parametrize(
    ("content", "status"), [(b"", "succeeded"), (b"day,shop,amount\n", "succeeded"), (b"\xff\n", "failed")]
)
def test_files_without_sales(content: bytes, status: str, example: SimpleNamespace) -> None:
    """An empty file has an empty chart; one that is no text fails in its first run."""
    with isolated(example.imports.app):
        client = example.web.web.test_client()
        uuid = client.post("/imports", data=content, content_type="text/csv").json["uuid"]
        assert {job.status for job in drain(example.imports.app)} == {status}
        assert client.get(f"/jobs/{uuid}").json["attempts"] == 1


def test_all_faults_are_counted_though_the_oldest_warnings_are_dropped(example: SimpleNamespace) -> None:
    with isolated(example.imports.app):
        client = example.web.web.test_client()
        content = b"day,shop,amount\n" + b"?\n" * 10_500
        path = f"/jobs/{client.post('/imports', data=content, content_type='text/csv').json['uuid']}/result"
        drain(example.imports.app)
        result = client.get(path).json
        assert (result["rows"], result["faults"], len(result["warnings"])) == (10_500, 10_500, 10_000)
        assert result["warnings"][-1].startswith("row 10501: ")


def test_what_is_no_whole_file_and_no_job_is_refused(example: SimpleNamespace) -> None:
    with isolated(example.imports.app):
        client = example.web.web.test_client()
        assert client.post("/imports", data={"file": (BytesIO(b"x"), "x.csv")}).status_code == 415
        for server in (
            {},
            {"wsgi.input_terminated": True},
        ):  # the second one as gunicorn: the body ends without an error
            cut_off = {"CONTENT_LENGTH": "100", **server}
            answer = client.post("/imports", data=b"day,shop", content_type="text/csv", environ_overrides=cut_off)
            assert answer.status_code == 400
        assert client.get("/jobs/0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f").status_code == 404
        assert client.get("/jobs/x").status_code == 404
        assert client.get("/imports.py").status_code == 404
        assert list(example.imports.app.jobs()) == []


@pytest.mark.wide
def test_a_crash_at_any_point_changes_nothing(
    crash_matrix: Callable[..., Any], example: SimpleNamespace, folder: Path
) -> None:
    expected = write_file(folder / "sales.csv", 2_500)

    def check(job: Any) -> None:
        assert sales(folder, job.uuid) == expected.rows
        assert [warning["msg"] for warning in job.warnings] == expected.warnings
        assert (job.done, job.months) == (2_501, expected.months)

    def same(job: Any, _first: Any) -> bool:  # the chart's uuid is another one for each import
        return (job.status, job.output["rows"]) == ("succeeded", 2_500)

    report = crash_matrix(
        example.imports.Import, {"path": str(expected.path)}, app=example.imports.app, check=check, same=same
    )
    assert "run.written #3" in report.killed and report.missed == []


HELD_WORKER = """
    import sys
    sys.path.insert(0, ".")
    import zerog
    from imports import Import, app

    def update_attrs(job, **changes):
        if changes["done"] > 10_000:
            print(job.done, flush=True)
            sys.stdin.read()
        zerog.BaseJob.update_attrs(job, **changes)

    Import.update_attrs = update_attrs
    zerog.Worker(app).run()
"""
"""A worker that waits half-way to be killed, when it has written rows and is about to write their checkpoint."""


def test_a_worker_killed_half_way_loses_and_repeats_nothing(example: SimpleNamespace, folder: Path) -> None:
    expected = write_file(folder / "sales.csv", 20_000)
    app = example.imports.app
    uuid = app.submit(example.imports.Import, {"path": str(expected.path)}).uuid
    with program(HELD_WORKER) as worker:
        assert worker.stdout is not None
        done = int(worker.stdout.readline())
        worker.kill()
        worker.wait()
    assert 9_000 < done <= 10_001
    assert app.progress(uuid)["status"] == "running"
    assert sales(folder, uuid)[-1][0] > done  # rows beyond the checkpoint, which the next run writes again
    warnings = [warning["msg"] for warning in app.info(uuid)["warnings"]]
    assert warnings == [warning for warning in expected.warnings if int(warning.split()[1][:-1]) <= done]
    with Processes(folder, folder) as processes:
        processes.work("imports:app")
        processes.until(lambda: app.progress(uuid)["status"] == "succeeded", "the import ends")
        job = app.get_job(uuid)
        processes.until(lambda: app.progress(job.output["chart"])["status"] == "succeeded", "the chart is drawn")
    assert (job.attempts, job.lost, job.output["rows"], job.done, job.faults) == (2, 1, 20_000, 20_001, 200)
    assert job.months == expected.months
    assert sales(folder, uuid) == expected.rows
    assert [warning["msg"] for warning in job.warnings] == expected.warnings
    check_chart(app.get_job(job.output["chart"]).output["svg"], expected.months)


@pytest.mark.slow
@pytest.mark.browser
def test_a_user_sees_the_bar_move_over_a_kill_and_then_the_chart(
    example: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    expected = write_file(folder / "sales.csv", 200_000)
    with Processes(folder, folder) as processes, chromium() as browser:
        port = free_port()
        processes.start("-m", "flask", "--app", "web:web", "run", "--port", str(port), port=port)
        page = browser.new_page(locale="en-GB")
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_label("File").set_input_files(expected.path)
        expect(page.get_by_role("status")).to_have_text("import queued, 0 %")
        worker = processes.work("imports:app")
        seen = [bar(page)]
        processes.until(lambda: move(page, seen) > 0.1, "the bar moves")
        worker.kill()
        worker.wait()
        assert seen[-1] < 1
        processes.work("imports:app")
        processes.until(lambda: move(page, seen) and page.locator("#chart img").count() == 1, "the chart is shown", 100)
        assert seen == sorted(seen) and len(seen) > 3
        expect(page.get_by_role("status")).to_have_text("200000 rows, 2000 of them with a fault")
        expect(page.locator("#warnings li")).to_have_text(expected.warnings)
        chart = page.get_by_role("img", name="Sales of each month")
        expect(chart).to_be_visible()
        assert chart.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0  # it is a picture
        page.screenshot(path=tmp_path / "imports.png")
        assert troubles == []
        [uuid] = [job["uuid"] for job in example.imports.app.jobs(job_type="import")]
        job = example.imports.app.get_job(uuid)
        assert (job.attempts, job.lost, job.months) == (2, 1, expected.months)
        assert sales(folder, uuid) == expected.rows


def bar(page: Page) -> float:
    """The filled share of the bar."""
    value = page.locator("#bar").evaluate("bar => bar.position")
    assert isinstance(value, (int, float))
    return value


def move(page: Page, seen: list[float]) -> float:
    """Note a new value of the bar, and return the last one."""
    if (now := bar(page)) != seen[-1]:
        seen.append(now)
    return now
