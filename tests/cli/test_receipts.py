"""``--receipt``: what was done to which jobs, and a command that was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.cli.builders import Shop, without_app
from tests.cli.conftest import Zerog

COMMAND = ("jobs", "cancel", "myapp:app", "--type", "word_count", "--yes", "--receipt")


def noted(file: Path) -> list[dict[str, object]]:
    """The lines of whole jobs."""
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True)[1:] if line.endswith("\n")]


def test_a_receipt_names_each_job(shop: Shop, zerog: Zerog, tmp_path: Path) -> None:
    """With what became of it, or the reason; a second time nothing is left to do."""
    made, file = [shop.submitted() for _ in range(2)], tmp_path / "r.jsonl"
    result = zerog(*COMMAND, str(file), "--limit", "2")
    assert (result.exit_code, result.stdout) == (0, "2 jobs cancelled.\n")
    assert [(line["uuid"], line["became"]) for line in noted(file)] == [(uuid, "cancelled") for uuid in sorted(made)]
    later = shop.submitted()
    assert zerog(*COMMAND, str(file), "--limit", "2").stdout == "0 jobs cancelled.\n"
    assert shop.status(later) == "queued"
    other = zerog("jobs", "rm", "myapp:app", later, "--receipt", str(file))
    assert (other.exit_code, "give another file" in other.stderr) == (2, True)


def test_a_command_that_was_killed_continues(shop: Shop, zerog: Zerog, tmp_path: Path) -> None:
    """Wherever it died: each job has its line once, and was cancelled once."""
    made, file = [shop.submitted() for _ in range(150)], tmp_path / "r.jsonl"
    command = [sys.executable, "-m", "zerog", *COMMAND, str(file)]
    process = subprocess.Popen(command, cwd=shop.folder, env=without_app(), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if file.exists() and file.read_text().count("\n") > 20:
                break
    finally:
        process.kill()
        process.wait()
    assert process.returncode < 0, "the command ended before it was killed"
    result = zerog(*COMMAND, str(file))
    assert "could not be" not in result.stdout or "may have done it" in result.stderr
    assert Counter(str(line["uuid"]) for line in noted(file)) == Counter(made)
    assert {shop.status(uuid) for uuid in made} == {"cancelled"}
