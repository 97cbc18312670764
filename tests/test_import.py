"""The modules that ``import zerog`` imports."""

from __future__ import annotations

import subprocess
import sys


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
