"""Unique jobs on the command line: which job a submit has joined, and the keys of those that are listed."""

from __future__ import annotations

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog

SUBMIT = ("submit", "myapp:app", "word_count", "path=war-and-peace.txt")


def test_a_submit_names_the_job_that_it_has_joined(shop: Shop, zerog: Zerog) -> None:
    """On standard error, so that standard output is the uuid alone."""
    made = zerog(*SUBMIT, "--unique", "war", "--unique", "peace")
    joined = zerog(*SUBMIT, "--unique", "war", "--unique", "peace")
    assert (made.stdout, made.stderr) == (joined.stdout, "")
    uuid = made.stdout.strip()
    assert joined.stderr == f"joined job {uuid}, which is queued: it has this key already\n"
    assert zerog(*SUBMIT, "--unique", "war").stdout != made.stdout
    listed = zerog("jobs", "ls", "myapp:app").stdout
    assert listed.splitlines()[0].split()[-1] == "KEY"
    assert "war, peace" in listed
    assert "Unique       war, peace, until ended" in zerog("jobs", "show", "myapp:app", uuid).stdout


def test_without_keys_the_list_has_no_such_column(shop: Shop, zerog: Zerog) -> None:
    zerog(*SUBMIT)
    assert "KEY" not in zerog("jobs", "ls", "myapp:app").stdout


def test_a_list_of_jobs_takes_no_key(shop: Shop, zerog: Zerog) -> None:
    (shop.folder / "jobs.json").write_text('[{"path": "a"}]')
    result = zerog("submit", "myapp:app", "word_count", "--json", "jobs.json", "--unique", "war")
    assert result.exit_code != 0
    assert "--unique gives one job a key" in result.stderr
    assert "No jobs." in zerog("jobs", "ls", "myapp:app").stdout
