"""Registering modules and packages, forgetting types, and several apps in one process."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zerog

JOB = """
import zerog
class {name}(zerog.BaseJob):
    JOB_TYPE = "{name}"
    def run(self): return 200
"""

Write = Callable[..., ModuleType]
numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files by path below a separate package and imports it."""
    package = f"made_jobs_{next(numbers)}"
    monkeypatch.syspath_prepend(tmp_path)

    def make(**files: str) -> ModuleType:
        folder = tmp_path / package
        for path, text in {"__init__": "", **files}.items():
            file = folder.joinpath(*path.split("__DOT__")).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("PACKAGE", package))
        importlib.invalidate_caches()
        return importlib.import_module(package)

    yield make
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]


@pytest.fixture
def app() -> zerog.App:
    return zerog.App("memory://")


def names(app: zerog.App) -> list[str]:
    return sorted(app.registry.get_registered_classes())


def test_a_package_stands_for_every_job_that_it_defines(app: zerog.App, write: Write) -> None:
    """Not for imported ones, abstract ones, or those that a function hides; no program is run."""
    package = write(
        __init__=JOB.format(name="Top"),
        one=JOB.format(name="One"),
        deep__DOT____init__="",
        deep__DOT__two="""
from PACKAGE import Top
from PACKAGE.one import One as Renamed
import zerog
class Abstract(zerog.BaseJob):
    MAX_ERRORS = 1
class Two(Abstract):
    JOB_TYPE = "Two"
    def run(self): return 200
Again = Two
def hidden():
    class Hidden(zerog.BaseJob):
        JOB_TYPE = "Hidden"
        def run(self): return 200
    return Hidden
hidden = hidden()
hidden.__module__ = "elsewhere"
""",
        functions="""
import zerog
other = zerog.App("memory://")
@other.job("small")
def small(job, n: int): return {"n": n}
""",
        __main__="raise SystemExit('it is a program')",
    )
    app.register(package)
    assert names(app) == ["One", "Top", "Two", "small"]
    app.register(package)  # twice is no error
    assert len(names(app)) == 4


def test_one_module_stands_for_itself(app: zerog.App, write: Write) -> None:
    package = write(one=JOB.format(name="One"), two=JOB.format(name="Two"))
    module = importlib.import_module(f"{package.__name__}.two")
    app.register(module, Single)
    assert names(app) == ["Two", "single"]


class Single(zerog.BaseJob):
    JOB_TYPE = "single"

    def run(self) -> None: ...


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x = 1", zerog.InvalidJobClass, "defines no job class"),
        ("from tests.test_discovery import Single", zerog.InvalidJobClass, "defines no job class"),
        (JOB.format(name="A") + JOB.format(name="B").replace('"B"', '"A"'), zerog.DuplicateJobType, "'A'"),
        (JOB.format(name="A").replace('"A"', '""'), zerog.InvalidJobClass, "has JOB_TYPE ''"),
        ("import nowhere_to_be_found", ModuleNotFoundError, "nowhere_to_be_found"),
        ("1 / 0", ZeroDivisionError, "division"),
    ],
)
def test_an_error_anywhere_registers_nothing(
    app: zerog.App, write: Write, text: str, error: type[Exception], message: str
) -> None:
    package = write(wrong=text)
    with pytest.raises(error, match=message):
        app.register(Single, package)
    assert names(app) == []


def test_a_type_can_be_looked_up_and_forgotten(app: zerog.App) -> None:
    app.register(Single)
    uuid = app.submit(Single).uuid
    assert app.job_class("single") is Single
    assert app.unregister("single") is Single
    for call in (app.job_class, app.unregister, app.submit):
        with pytest.raises(zerog.UnknownJobType, match="'single'"):
            call("single")
    assert zerog.Worker(app).run(burst=True).ran == 0
    assert app.progress(uuid)["status"] == "queued"
    app.register(Single)
    assert app.submit(Single).status == "queued"


def test_several_apps_share_a_process_and_nothing_else(tmp_path: Path) -> None:
    """The same type, other classes, other datastores; workers of both at the same time."""
    apps = [zerog.App("memory://"), zerog.App(f"sqlite:///{tmp_path}/two.db"), zerog.App("memory://")]
    uuids: list[list[str]] = []
    for number, app in enumerate(apps):

        def run(self: Any, number: int = number) -> Any:
            return {"app": number}

        app.register(type(f"Report{number}", (zerog.BaseJob,), {"JOB_TYPE": "report", "run": run}))
        uuids.append(app.submit_many("report", [{}] * 5))
    for app in reversed(apps):
        assert zerog.Worker(app, executor="async", concurrency=2).run(burst=True).succeeded == 5
    for number, app in enumerate(apps):
        assert [app.get_job(uuid).output for uuid in uuids[number]] == [{"app": number}] * 5
        assert type(app.get_job(uuids[number][0])).__name__ == f"Report{number}"
        assert len(list(app.jobs())) == 5
        for other in {0, 1, 2} - {number}:
            with pytest.raises(zerog.JobNotFound):
                apps[other].progress(uuids[number][0])
    with pytest.raises(zerog.ConfigurationError, match="isn't registered here"):
        apps[0].submit(apps[1].job_class("report"))
    apps[1].close()


class Base(zerog.BaseJob):
    """The common part of two of the jobs."""


class Left(Base):
    JOB_TYPE = "left"

    def run(self) -> None: ...


class Right(Base):
    JOB_TYPE = "right"

    def run(self) -> None: ...


def test_a_job_of_another_class_than_expected_is_not_found(app: zerog.App) -> None:
    app.register(Left, Right)
    left, right = app.submit(Left).uuid, app.submit(Right, delay=60).uuid
    zerog.Worker(app).run(burst=True)
    assert type(app.get_job(left, Left)) is type(app.wait(left, 5, Left)) is Left
    assert type(app.get_job(left, job_type=Base)) is Left  # type: ignore[type-abstract]
    for look in (lambda: app.get_job(left, Right), lambda: app.wait(left, 5, job_type=Right)):
        with pytest.raises(zerog.JobNotFound, match=f"{left} is a 'left', not a 'right'"):
            look()
    with pytest.raises(zerog.JobNotFound, match="not a 'left'"):
        app.wait(right, 60, Left)  # at once, though it has to wait for a minute yet
