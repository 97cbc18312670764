"""The modules that ``import zerog`` and the start of a command import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import zerog

SLOW = [
    "marshmallow",
    "rich",
    "asyncio",
    "sqlite3",
    "apispec",
    "psycopg",
    "redis",
    "rq",
    "zerog.app",
    "zerog.engine.engine",
]
"""Modules that take most of the start-up time. Whatever can do without them must not import them."""


def imported(code: str, shows: str = "", **environment: str) -> list[str]:
    """Run code, which prints ``shows``, in a process of its own; returns those of SLOW that it has imported."""
    report = f"; import sys; print('slow:', *(name for name in {SLOW} if name in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **environment},
    )
    *shown, slow = result.stdout.splitlines()
    assert shows in "\n".join(shown)
    return slow.split()[1:]


def test_the_name_alone_imports_no_schema_and_no_engine() -> None:
    """A name pays for what it needs when it is first used, errors and constants nearly nothing."""
    assert imported("import zerog") == []
    assert imported("import zerog; zerog.ConfigurationError, zerog.NO_RESULT, zerog.__version__") == []


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        ("--version", zerog.__version__),
        ("--help", "doctor"),
        ("jobs ls --help", "--since"),
        ("worker --help", "--lease"),
        ("completion bash", "COMP_WORDS"),
    ],
)
def test_what_needs_no_app_starts_without_one(arguments: str, shows: str) -> None:
    """Version, help and the script for a shell, of every command."""
    code = f"from zerog.cli.root import cli; cli({arguments.split()}, prog_name='zerog', standalone_mode=False)"
    assert imported(code, shows) == []


@pytest.mark.parametrize("words", ["jo", "jobs ", "jobs ls --st", "jobs ls --status c", "worker --executor "])
def test_a_shell_that_completes_waits_for_no_app(words: str) -> None:
    """A shell starts the command at every press of the key; only what is in an app needs it."""
    code = (
        "import click\n"
        "from zerog.cli.root import cli\n"
        "try: cli(prog_name='zerog')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "import sys"
    )
    shell = {"_ZEROG_COMPLETE": "bash_complete", "COMP_WORDS": f"zerog {words}"}
    assert imported(code, "plain,", **shell, COMP_CWORD=str(len(words.split(" ")))) == []


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    """The names exist, and an unknown one is an AttributeError as of any module."""
    assert {name for name in zerog.__all__ if not hasattr(zerog, name)} == set()
    assert set(zerog.__all__) <= set(dir(zerog))
    with pytest.raises(AttributeError, match="module 'zerog' has no attribute 'Wroker'"):
        _ = zerog.Wroker  # type: ignore[attr-defined]


def test_no_driver_is_imported_before_its_url_is_used() -> None:
    """A program that only uses the names pays for no database driver, no command line, no event loop."""
    code = (
        "import sys, zerog\n"
        "unwanted = ['sqlite3', 'click', 'rich', 'asyncio', 'apispec', 'pytest', 'hypothesis', 'redis', 'rq']\n"
        "unwanted += ['zerog.testing']\n"
        "print([name for name in unwanted if name in sys.modules])\n"
        "zerog.App('memory://')\n"
        "print('sqlite3' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.splitlines() == ["[]", "False"]


def test_only_a_worker_that_runs_coroutines_pays_for_an_event_loop() -> None:
    """asyncio takes a third of the package's import time; a worker of threads runs without."""
    code = (
        "import sys, zerog\n"
        "app = zerog.App('memory://')\n"
        "for executor in ('thread', 'async'):\n"
        "    zerog.Worker(app, executor=executor).run(burst=True)\n"
        "    print('asyncio' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.splitlines() == ["False", "True"]
