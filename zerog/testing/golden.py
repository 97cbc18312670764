"""Read golden documents as a worker does: load, migrate and resume each of them."""

from __future__ import annotations

from pathlib import Path

from zerog.app import App
from zerog.contracts.datastore import RunGuard
from zerog.exceptions import ZerogError
from zerog.records.job import RUNNING, TERMINAL, make_key
from zerog.schemas.golden import read_golden
from zerog.testing.inline import run_inline
from zerog.testing.isolation import isolated


def check_golden(app: App, folder: str | Path, *, run: bool = True) -> list[str]:
    """Read each golden document below ``folder`` by the classes of ``app``, in memory; return the files' names.

    Each is stored as it is, then loaded and migrated by its class. An unfinished one is resumed by a run, as after a
    deploy; without ``run`` it is only loaded, for jobs whose ``run()`` needs more than a test has. An ended one is
    shown with its history. Raises AssertionError that names each file that fails, and if there is none.
    """
    paths = sorted(Path(folder).rglob("*.json"))
    assert paths, f"{folder} has no golden documents: write them with zerog schema sample"
    problems = [f"{path.name}: {problem}" for path in paths if (problem := _problem(app, path, run))]
    assert not problems, "golden documents that can't be read or resumed:\n" + "\n".join(problems)
    return [path.name for path in paths]


def _problem(app: App, path: Path, run: bool) -> str | None:
    """Return why a golden document can't be read or resumed; None if it can."""
    try:
        document = read_golden(path)
        with isolated(app) as inside:
            uuid, status = document["uuid"], document["status"]
            inside.datastore.create(make_key(uuid), document)
            inside.get_job(uuid)
            inside.info(uuid)
            if status in TERMINAL or not run:
                return None
            if status == RUNNING:
                inside.engine.release(uuid, RunGuard.of(document), "its worker is gone")
            job = run_inline(inside, uuid)
            return None if job.status in TERMINAL else f"it is {job.status} after a run"
    except ZerogError as error:
        return str(error)
