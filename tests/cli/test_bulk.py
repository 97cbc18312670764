"""``zerog jobs cancel``, ``retry``, ``move`` and ``rm``: by uuid, by filter, and what could not be done."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.builders import Shop, without_app
from tests.cli.conftest import Zerog
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.maintenance.bulk import Bulk
from zerog.maintenance.receipts import Doubt, Outcome
from zerog.records.job import make_key
from zerog.records.operations import Set

ABSENT = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_cancel_by_uuid(shop: Shop, zerog: Zerog) -> None:
    """One that waits is cancelled; one that runs is asked to stop, which the summary counts separately."""
    running, waiting = shop.running(), shop.submitted()
    result = zerog("jobs", "cancel", "myapp:app", waiting, running)
    assert (result.exit_code, result.stdout) == (0, "1 job cancelled; 1 job asked to stop at the next write.\n")
    assert (shop.status(waiting), shop.status(running)) == ("cancelled", "running")
    assert shop.app.progress(running)["cancelRequested"] is not None


def test_retry_by_uuid_records_the_reason(shop: Shop, zerog: Zerog) -> None:
    """The job waits again, and its events record why."""
    uuid = shop.ended(500)
    result = zerog("jobs", "retry", "myapp:app", uuid, "--reason", "the disk was full")
    assert (result.exit_code, result.stdout) == (0, "1 job queued again.\n")
    assert shop.status(uuid) == "queued"
    assert "the disk was full" in shop.app.info(uuid)["events"][-1]["msg"]


def test_move_by_uuid_and_by_filters(shop: Shop, zerog: Zerog) -> None:
    """Waiting jobs go to the new place; what is there already is counted separately."""
    there, other = shop.submitted(), shop.submitted()
    assert zerog("jobs", "move", "myapp:app", there, "--to", "slow", "--who", "anna").stdout == "1 job moved.\n"
    options = ("--to", "slow", "--priority", "0", "--reason", "a flood")
    result = zerog("jobs", "move", "myapp:app", "--type", "word_count", *options, "--yes")
    assert (result.exit_code, result.stdout) == (0, "1 job moved; 1 job was there already.\n")
    places = {job["uuid"]: shop.app.datastore.read(make_key(job["uuid"]))["queueName"] for job in shop.app.jobs()}
    assert places == {there: "slow", other: "slow"}
    assert "moved by anna from queue default" in shop.app.info(there)["events"][-1]["msg"]
    assert "a flood" in shop.app.info(other)["events"][-1]["msg"]


def test_move_needs_a_place(shop: Shop, zerog: Zerog) -> None:
    """Without one, and to a name that no queue can have, nothing is changed."""
    uuid = shop.submitted()
    placeless = zerog("jobs", "move", "myapp:app", uuid)
    assert (placeless.exit_code, "--to, --priority or both" in placeless.stderr) == (2, True)
    misnamed = zerog("jobs", "move", "myapp:app", uuid, "--to", "a,b")
    assert (misnamed.exit_code, "without commas" in misnamed.stderr) == (1, True)
    assert shop.app.info(uuid)["events"] == []


def test_rm_by_uuid(shop: Shop, zerog: Zerog) -> None:
    """What has ended is gone; named twice, it is removed once."""
    uuid = shop.ended()
    result = zerog("jobs", "rm", "myapp:app", uuid, uuid)
    assert (result.exit_code, result.stdout) == (0, "1 job removed.\n")
    assert shop.app.datastore.read(make_key(uuid)) is None


@pytest.mark.parametrize(
    ("verb", "why"),
    [("cancel", "succeeded already"), ("retry", "only a job that has ended"), ("rm", "cancel it first")],
)
def test_what_can_t_be_done_is_reported_for_each_job(shop: Shop, zerog: Zerog, verb: str, why: str) -> None:
    """The rest are done all the same; the exit code is 1."""
    waiting, running, done, failed = shop.submitted(), shop.running(), shop.ended(), shop.ended(500)
    wrong = done if verb == "cancel" else waiting
    right = {"cancel": waiting, "retry": failed, "rm": failed}[verb]
    result = zerog("jobs", verb, "myapp:app", wrong, ABSENT, right)
    assert result.exit_code == 1
    assert f"job {wrong} is" in result.stderr
    assert why in result.stderr
    assert f"there is no job {ABSENT}" in result.stderr
    assert result.stdout.startswith("1 job ")
    assert "2 jobs could not be" in result.stdout
    assert shop.status(running) == "running"


def test_a_running_job_is_never_removed(shop: Shop, zerog: Zerog) -> None:
    """Neither by uuid nor by any filter."""
    uuid = shop.running()
    assert zerog("jobs", "rm", "myapp:app", uuid).exit_code == 1
    assert zerog("jobs", "rm", "myapp:app", "--status", "running", "--yes").exit_code == 1
    assert zerog("jobs", "rm", "myapp:app", "--type", "word_count", "--yes").exit_code == 0
    assert shop.status(uuid) == "running"


def test_results_for_scripts(shop: Shop, zerog: Zerog) -> None:
    """An object for each job: the outcome, or the reason why there is none."""
    waiting, running, done = shop.submitted(), shop.running(), shop.ended()
    result = zerog("jobs", "cancel", "myapp:app", waiting, running, done, "--json")
    assert result.exit_code == 1
    first, second, third = lines(result.stdout)
    assert first == {"uuid": waiting, "done": True, "became": "cancelled"}
    assert second == {"uuid": running, "done": True, "became": "asked to stop"}
    assert (third["uuid"], third["done"], "succeeded" in str(third["why"])) == (done, False, True)
    assert result.stderr == ""


def test_each_verb_looks_for_what_it_can_be_done_to(shop: Shop, zerog: Zerog) -> None:
    """By a filter alone cancel finds what is unfinished, retry what failed, rm what has ended."""

    def statuses() -> list[str]:
        return [str(job["status"]) for job in shop.app.jobs()]

    for make in (shop.submitted, shop.running, shop.ended, lambda: shop.ended(500), shop.cancelled):
        make()
    assert zerog("jobs", "retry", "myapp:app", "--type", "word_count", "--yes").stdout == "1 job queued again.\n"
    assert sorted(statuses()) == ["cancelled", "queued", "queued", "running", "succeeded"]
    recorded = zerog("jobs", "cancel", "myapp:app", "--type", "word_count", "--yes").stdout
    assert recorded == "2 jobs cancelled; 1 job asked to stop at the next write.\n"
    again = zerog("jobs", "cancel", "myapp:app", "--type", "word_count", "--yes").stdout
    assert again == "0 jobs cancelled.\n"  # a run that was asked to stop isn't asked again
    assert zerog("jobs", "rm", "myapp:app", "--type", "word_count", "--yes").stdout == "4 jobs removed.\n"
    assert statuses() == ["running"]


def test_filters_spare_what_they_don_t_match(shop: Shop, zerog: Zerog) -> None:
    """Only what matches all of them is touched."""
    old = shop.made(shop.ended(), "2026-01-01T00:00:00+00:00")
    others = [shop.ended(), shop.made(shop.ended(job_type="refuse"), "2026-01-01T00:00:00+00:00")]
    result = zerog("jobs", "rm", "myapp:app", "--type", "word_count", "--older-than", "30d", "--yes")
    assert result.stdout == "1 job removed.\n"
    assert sorted(job["uuid"] for job in shop.app.jobs()) == sorted(others)
    assert old not in others


@pytest.mark.parametrize(
    ("verb", "done"),
    [("retry", "2 jobs queued again.\n"), ("cancel", "2 jobs cancelled.\n"), ("rm", "2 jobs removed.\n")],
)
def test_a_range_of_builds(shop: Shop, zerog: Zerog, verb: str, done: str) -> None:
    """The jobs whose last error is of a build within it, both ends included, and no other ones."""
    made = {build: shop.submitted() if verb == "cancel" else shop.ended(500) for build in ("9", "10", "11", "12", "")}
    for build, uuid in made.items():
        error = {"timestamp": "2026-01-01T00:00:00.000000+00:00", "errorCode": 500, "msg": "no"}
        error |= {"build": build} if build else {}
        shop.app.datastore.mutate(make_key(uuid), [Set("lastError", error)])
    before = {uuid: shop.status(uuid) for uuid in made.values()}
    asked = zerog("jobs", verb, "myapp:app", "--build", "10..11")
    assert (asked.exit_code, "--yes" in asked.stderr) == (2, True)
    assert {uuid: shop.status(uuid) for uuid in made.values()} == before
    assert zerog("jobs", verb, "myapp:app", "--build", "10..11", "--yes").stdout == done
    there = {job["uuid"]: job["status"] for job in shop.app.jobs()}
    assert {build for build, uuid in made.items() if there.get(uuid) != before[uuid]} == {"10", "11"}
    refused = zerog("jobs", verb, "myapp:app", "--build", "11..10", "--yes")
    assert (refused.exit_code, "'11..10' is a range without builds" in refused.stderr) == (2, True)


def test_many_pages_are_gone_through(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing while reading on misses none, and no more than a page is in memory."""
    monkeypatch.setattr("zerog.query.PAGE", 3)
    for _ in range(10):
        shop.cancelled()
    limits: list[int] = []
    find = type(shop.app.datastore).find

    def counted(self: object, query: FindQuery) -> object:
        limits.append(query.limit)
        return find(self, query)  # type: ignore[arg-type]

    monkeypatch.setattr(type(shop.app.datastore), "find", counted)
    assert zerog("jobs", "rm", "myapp:app", "--status", "cancelled", "--yes").stdout == "10 jobs removed.\n"
    assert set(limits) == {3}
    assert list(shop.app.jobs()) == []


@pytest.mark.parametrize("verb", ["cancel", "retry", "rm"])
def test_a_filter_without_yes_and_without_a_terminal_changes_nothing(shop: Shop, zerog: Zerog, verb: str) -> None:
    """It prints how many it would have been."""
    made = [shop.submitted(), shop.submitted(), shop.ended(500), shop.ended(500)]
    before = [shop.app.progress(uuid) for uuid in made]
    result = zerog("jobs", verb, "myapp:app", "--type", "word_count")
    assert (result.exit_code, "2 jobs" in result.stderr, "--yes" in result.stderr) == (2, True, True)
    assert [shop.app.progress(uuid) for uuid in made] == before


@pytest.mark.parametrize("verb", ["cancel", "retry", "rm"])
@pytest.mark.parametrize("arguments", [[], ["--yes"], [ABSENT, "--status", "failed"], ["42", ABSENT]])
def test_a_wrong_call_changes_nothing(shop: Shop, zerog: Zerog, verb: str, arguments: list[str]) -> None:
    """Neither uuids nor filters, both, or something that is no uuid: exit code 2 before anything is done."""
    uuid = shop.ended(500)
    before = shop.app.progress(uuid)
    result = zerog("jobs", verb, "myapp:app", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert shop.app.progress(uuid) == before


def in_terminal(folder: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command on a terminal at which its question is answered."""
    ours, theirs = pty.openpty()
    environment = {**without_app(), "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "zerog", *arguments]
    printed = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment) as process:
        os.close(theirs)
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not read:
                break
            printed += read
            if answer and b"[y/N]" in printed:
                os.write(ours, f"{answer}\n".encode())
                answer = ""
    os.close(ours)
    return process.returncode, printed.decode()


def test_a_user_at_a_terminal_is_asked(shop: Shop) -> None:
    """The question has the number; no is exit code 1 and changes nothing, yes shows how far it is."""
    for _ in range(3):
        shop.cancelled()
    code, printed = in_terminal(shop.folder, "n", "jobs", "rm", "myapp:app", "--status", "cancelled")
    assert (code, "Remove 3 jobs?" in printed, "Nothing was changed" in printed) == (1, True, True)
    assert len(list(shop.app.jobs())) == 3
    code, printed = in_terminal(shop.folder, "y", "jobs", "rm", "myapp:app", "--status", "cancelled")
    assert (code, "3/3" in printed, "3 jobs removed." in printed) == (0, True, True)
    assert list(shop.app.jobs()) == []


def test_a_question_that_gets_no_answer_is_no_yes(shop: Shop) -> None:
    """The end of the input is as good as Ctrl-C."""
    shop.cancelled()
    code, printed = in_terminal(shop.folder, "\x04", "jobs", "rm", "myapp:app", "--status", "cancelled")
    assert (code, "Traceback" in printed, "removed" in printed) == (130, False, False)
    assert len(list(shop.app.jobs())) == 1


def test_a_datastore_out_of_reach_ends_the_round(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for it rather than one for each job, and what was done by then."""
    made = [shop.cancelled() for _ in range(5)]
    discard = type(shop.app).discard

    def failing(self: object, uuid: str, **_more: object) -> None:
        if uuid == made[2]:
            raise DatastoreUnavailable("no route to the server")
        discard(self, uuid)  # type: ignore[arg-type]

    monkeypatch.setattr(type(shop.app), "discard", failing)
    result = zerog("jobs", "rm", "myapp:app", *made)
    assert (result.exit_code, result.stdout) == (1, "2 jobs removed.\n")
    assert result.stderr == "zerog: no route to the server\n"
    assert len(list(shop.app.jobs())) == 3


def test_one_answer_that_was_lost_is_one_job_s(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown outcome for one job doesn't stop the round; the job is named."""
    made = [shop.cancelled() for _ in range(3)]
    discard = type(shop.app).discard

    def failing(self: object, uuid: str, **_more: object) -> None:
        if uuid == made[1]:
            raise AmbiguousWrite("the answer was lost")
        discard(self, uuid)  # type: ignore[arg-type]

    monkeypatch.setattr(type(shop.app), "discard", failing)
    result = zerog("jobs", "rm", "myapp:app", *made)
    assert (result.exit_code, result.stderr) == (1, f"{made[1]}: the answer was lost\n")
    assert result.stdout == "2 jobs removed; 1 job could not be removed, see above.\n"


def test_ctrl_c_in_the_middle_prints_what_was_done(shop: Shop, zerog: Zerog, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, exit code 130, and the summary."""
    made = [shop.cancelled() for _ in range(3)]
    do = Bulk._done

    def interrupted(self: Bulk, place: Doubt) -> Outcome:
        if place.uuid == made[1]:
            signal.raise_signal(signal.SIGINT)
        return do(self, place)

    monkeypatch.setattr(Bulk, "_done", interrupted)
    result = zerog("jobs", "rm", "myapp:app", *made)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "1 job removed.\n", "")


@pytest.mark.parametrize(("verb", "done"), [("retry", "queued again"), ("rm", "removed"), ("cancel", "cancelled")])
def test_a_limit_takes_the_oldest_that_match(shop: Shop, zerog: Zerog, verb: str, done: str) -> None:
    """The rest are for the next call; it bounds no list of uuids."""
    made = [shop.submitted() if verb == "cancel" else shop.ended(500) for _ in range(5)]
    status = shop.status(made[0])
    left = made[::-1]
    for _ in range(3):
        count = min(2, len(left))
        result = zerog("jobs", verb, "myapp:app", "--type", "word_count", "--status", status, "--limit", "2", "--yes")
        assert result.stdout == f"{count} job{'s' * (count > 1)} {done}.\n"
        left = left[:-count]
        assert sorted(job["uuid"] for job in shop.app.jobs(status=status)) == sorted(left)
    refused = zerog("jobs", verb, "myapp:app", made[0], "--limit", "2")
    assert (refused.exit_code, "--limit bounds what filters find" in refused.stderr) == (2, True)


def test_errors_count_on_if_asked_for(shop: Shop, zerog: Zerog) -> None:
    one, two = shop.ended(500), shop.ended(500)
    zerog("jobs", "retry", "myapp:app", one, "--keep-counters")
    zerog("jobs", "retry", "myapp:app", two)
    assert ["errors count on" in shop.app.info(uuid)["events"][-1]["msg"] for uuid in (one, two)] == [True, False]
