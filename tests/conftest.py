"""Fixtures and settings of all tests."""

from __future__ import annotations

import compileall
import gc
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion import rewrite
from hypothesis import HealthCheck, settings

from tests.logs import logging_kept
from zerog.support import environment

# On a busy machine an example may take any time. On a laptop every run explores something new; a merge must not fail
# for what it didn't change.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("patient"), derandomize=True)
settings.load_profile("repeatable" if os.environ.get("CI") else "patient")

# nohup and a shell's & make what they start ignore Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same for what nohup ignores: a worker that inherits that keeps running when its terminal is closed.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


ROOT = Path(__file__).parents[1]

# A test that changes a module twice in a second is not to find the bytecode of the first.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

APP_VARIABLES = ("ZEROG_APP", "ZEROG_URL", "ZEROG_DATASTORE", "ZEROG_QUEUE")

HUNG = 1_800
"""Seconds after which a test that takes minutes counts as hung, on a machine that does much else, too."""


def pytest_configure(config: pytest.Config) -> None:
    """Compile ZeroG and what tests start, once: hundreds of processes would do it again, at 0.3 s each."""
    if not hasattr(config, "workerinput"):
        for folder in ("zerog", "tests"):
            compileall.compile_dir(ROOT / folder, quiet=2, rx=re.compile(r"/test_\w+\.py$"))
        if config.option.numprocesses:
            compile_tests(config)


def compile_tests(config: pytest.Config) -> None:
    """Compile the tests as pytest does, once: each process of a run would do it again, at 5 s each."""
    state = config.stash[rewrite.assertstate_key]
    for file in (ROOT / "tests").rglob("test_*.py"):
        compiled = rewrite.get_cache_dir(file) / f"{file.stem}{rewrite.PYC_TAIL}"
        if rewrite._read_pyc(file, compiled) is None and rewrite.try_makedirs(compiled.parent):
            digest, code = rewrite._rewrite_test(file, config)
            rewrite._write_pyc(state, code, digest, compiled)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Keep the bytecode of tests, even where programs are asked to write none: it is of use in the next run only."""
    asked, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()  # of a million objects none is garbage
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        sys.dont_write_bytecode = asked


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Leave out a class by a mark on all of it before its tests are made: ten thousand cost every process seconds."""
    made = yield
    if not isinstance(made, pytest.Class) or made.obj is None:
        return made
    return [] if any(made.get_closest_marker(mark) for mark in left_out(collector.config)) else made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, Any, Any]:
    """Undo what a test does to logging, and to the variables that name an app or its datastore and queue."""
    before = {name: os.environ.get(name) for name in APP_VARIABLES}
    try:
        with logging_kept():
            return (yield)
    finally:
        environment._kept.clear()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def left_out(config: pytest.Config) -> list[str]:
    """The marks whose tests ``-m`` excludes, whatever other marks they have."""
    expression = config.option.markexpr
    if "(" in expression or re.search(r"\bor\b", expression):
        return []
    return re.findall(r"\bnot (\w+)", expression)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that take minutes their own limit, unless they name one."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(HUNG), append=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each reason for which tests were skipped, instead of one for each place."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    left_out = terminalreporter.config.option.markexpr
    if reasons or left_out:
        terminalreporter.section("not run")
    for reason, number in reasons.most_common():
        terminalreporter.line(f"{number:5}  {reason}")
    if left_out:
        terminalreporter.line(f'       what -m "{left_out}" leaves out; the README names the marks')


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder like /tmp, in which every user may create files; only root can make another user's there."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of another user")
    folder = tmp_path / "public"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder
