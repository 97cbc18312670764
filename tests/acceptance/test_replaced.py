"""Another file in place of the SQLite file of a running worker: it waits, doctor names it, and it continues later."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.harness import ROOT, Workers
from tests.processes import until
from tests.programs import python
from zerog.exceptions import DatastoreUnavailable

NAMES = ("jobs.db", "jobs.db-wal", "jobs.db-shm")


def doctor(w: Workers) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZEROG_URL": w.url, "PYTHONPATH": str(ROOT)}
    return python().run("-m", "zerog", "doctor", "tests.acceptance.jobs:app", folder=ROOT, environment=environment)


def test_a_worker_waits_while_its_file_is_replaced(tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    with Workers(tmp_path, "--lease", "3", "--grace", "1") as w:
        worker = w.start()
        w.app.submit("square", {"number": 3})
        w.until_ended(1)
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as one, closing(sqlite3.connect(aside / "copy")) as two:
            one.backup(two)
        for name in NAMES:
            (tmp_path / name).rename(aside / name)
        shutil.copy(aside / "copy", tmp_path / "jobs.db")
        with pytest.raises(DatastoreUnavailable, match="was replaced"):
            w.app.submit("square", {"number": 4})
        until(lambda: "was replaced" in w.log.read_text(), 60)
        assert worker.poll() is None
        for name in NAMES:
            (tmp_path / name).unlink(missing_ok=True)
            (aside / name).rename(tmp_path / name)
        w.app.submit("square", {"number": 5})
        assert w.until_ended(2)["succeeded"] == 2


def test_doctor_names_a_worker_on_a_deleted_file(tmp_path: Path) -> None:
    with Workers(tmp_path, "--lease", "3", "--grace", "1") as w:
        worker = w.start()
        w.app.submit("square", {"number": 3})
        w.until_ended(1)
        w.app.close()
        for name in NAMES:
            (tmp_path / name).unlink(missing_ok=True)
        answer = doctor(w)
        assert answer.returncode == 1
        assert f"process {worker.pid} (" in answer.stdout and f"kill {worker.pid}" in answer.stdout
