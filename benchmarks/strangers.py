#!/usr/bin/env python3
"""What a worker that can't take the jobs of a queue costs the one that can, in processes of their own.

    ./strangers.py --url sqlite:///{}/jobs.db --rounds 5
    ./strangers.py --url redis://127.0.0.1:6379/0

Each round drains the same number of jobs three times: with the capable worker alone, beside a worker that knows none of
the types, and beside one of an older version of the type. Prints jobs/s and the share of the rate that is kept.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zerog
from zerog.records.job import new_document
from zerog.support.clock import to_text

MODULE = """
import os
import zerog

class Job(zerog.BaseJob):
    JOB_TYPE = os.environ["STRANGERS_TYPE"]
    SCHEMA_VERSION = os.environ["STRANGERS_VERSION"]

    def run(self):
        return 200

app = zerog.App(os.environ["STRANGERS_URL"])
app.register(Job)
"""

BESIDE = {"alone": None, "beside a stranger": ("other", "1.0"), "beside an older version": ("job", "1.0")}


def worker(folder: Path, url: str, job_type: str, version: str) -> subprocess.Popen[bytes]:
    """Start a worker whose only type has this version."""
    names = {"STRANGERS_TYPE": job_type, "STRANGERS_VERSION": version, "STRANGERS_URL": url}
    command = [sys.executable, "-m", "zerog", "worker", "strangers_app:app", "--concurrency", "4"]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **names, "PYTHONPATH": str(folder)}, stderr=subprocess.DEVNULL
    )


def drained(app: zerog.App, count: int) -> float:
    """Submit jobs and return how many a second were done until the last had ended."""
    now = to_text(app.clock.now())
    documents = [new_document("job", 2.0, now) for _ in range(count)]
    uuids = [document["uuid"] for document, _ in app.engine.submit(documents)]
    began = time.monotonic()
    for uuid in reversed(uuids):
        while app.progress(uuid)["status"] != "succeeded":
            time.sleep(0.005)
    return count / (time.monotonic() - began)


def measure(url: str, count: int, beside: tuple[str, str] | None, folder: Path) -> float:
    """The rate of one capable worker, with another one beside it or none."""
    app = zerog.App(url)
    workers = [worker(folder, url, "job", "2.0")] + ([worker(folder, url, *beside)] if beside else [])
    try:
        for _ in range(3):  # by which all have started, and know which kinds are set aside
            drained(app, 100)
        return drained(app, count)
    finally:
        for process in workers:
            process.send_signal(signal.SIGTERM)
        for process in workers:
            process.wait(60)
        app.close()


def main() -> None:
    """Parse the command line and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="sqlite:///{}/jobs.db", help="{} stands for a folder made for each drain")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in BESIDE}
    for _ in range(arguments.rounds):
        for name, beside in BESIDE.items():
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "strangers_app.py").write_text(MODULE)
                rates[name].append(measure(arguments.url.format(folder), arguments.jobs, beside, Path(folder)))
                print(f"{name}: {rates[name][-1]:.0f}/s", flush=True)
    alone = statistics.median(rates["alone"])
    for name, measured in rates.items():
        print(f"{name}: median {statistics.median(measured):.0f}/s, {statistics.median(measured) / alone:.2f} of alone")


if __name__ == "__main__":
    main()
