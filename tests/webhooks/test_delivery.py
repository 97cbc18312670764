"""Web hooks as users see them: every end notifies every URL, at least once, and no secret is shown."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

import zerog
from tests.webhooks.receiver import OK, Receiver, sending
from zerog.cli.root import cli
from zerog.engine.followers import web_hooks_of
from zerog.records.job import make_key
from zerog.testing import drain, run_inline
from zerog.web import asgi
from zerog.webhooks import new_secret, verify

SECRET = new_secret()
LOCAL = ("127.0.0.0/8",)


class Job(zerog.BaseJob):
    JOB_TYPE = "job"
    MAX_ERRORS = 1

    def run(self) -> Any:
        return 200


class Failing(Job):
    JOB_TYPE = "failing"

    def run(self) -> Any:
        raise ValueError("no")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def make_app(*receivers: Receiver, url: str = "memory://") -> zerog.App:
    app = zerog.App(url)
    app.register(Job, Failing)
    app.webhooks({f"http://127.0.0.1:{receiver.port}": SECRET for receiver in receivers}, LOCAL)
    return app


def hooks(app: zerog.App) -> list[Any]:
    return sorted(app.jobs(job_type="zerog.webhook"), key=lambda job: job["uuid"])


def test_every_end_is_notified(receiver: Receiver) -> None:
    """Success, failure, a cancellation while it waits; each with what a receiver needs to ask for the rest."""
    app = make_app(receiver)
    done, failed = app.submit(Job, notify=[receiver.url]), app.submit(Failing, notify=[receiver.url])
    cancelled = app.submit(Job, notify=[receiver.url], delay=3_600)
    app.cancel(cancelled.uuid)
    silent = app.submit(Job)
    drain(app)
    contents = {
        content["data"]["uuid"]: content
        for content in (verify(request.body, request.headers, SECRET) for request in receiver.wait(3))
    }
    assert {uuid: content["type"] for uuid, content in contents.items()} == {
        done.uuid: "job.succeeded",
        failed.uuid: "job.failed",
        cancelled.uuid: "job.cancelled",
    }
    assert silent.uuid not in contents
    progress = app.progress(done.uuid)
    assert contents[done.uuid] == {
        "type": "job.succeeded",
        "timestamp": progress["finishedAt"],
        "data": {
            "uuid": done.uuid,
            "jobType": "job",
            "status": "succeeded",
            "result": 200,
            "attempts": 1,
            "createdAt": progress["createdAt"],
            "startedAt": progress["startedAt"],
            "finishedAt": progress["finishedAt"],
            "parent": None,
        },
    }


def test_a_class_names_urls_and_a_submit_others(receiver: Receiver) -> None:
    class Notifying(Job):
        JOB_TYPE = "notifying"
        NOTIFY = (receiver.url,)

    app = make_app(receiver)
    app.register(Notifying)
    app.submit(Notifying)
    app.submit(Notifying, notify=[f"{receiver.url}/a", f"{receiver.url}/b"])
    app.submit(Notifying, notify=[])
    app.submit_many(Notifying, [{}], notify=[f"{receiver.url}/many"])
    drain(app)
    lines = sorted(request.line.split()[1] for request in receiver.wait(4))
    assert lines == ["/hooks", "/hooks/a", "/hooks/b", "/hooks/many"]


def test_each_end_is_another_message(receiver: Receiver) -> None:
    """Which a receiver can tell from a repetition by its id."""
    app = make_app(receiver)
    job = app.submit(Job, notify=[receiver.url])
    drain(app)
    app.retry(job.uuid)
    drain(app)
    first, second = (request.headers["webhook-id"] for request in receiver.wait(2))
    assert first != second
    assert {first, second} == {hook["uuid"] for hook in hooks(app)}


def test_a_failed_attempt_is_made_again_with_the_same_id() -> None:
    """By the schedule of the specification, over three days; other URLs don't wait for it."""
    with Receiver(sending(b"HTTP/1.1 500 Odd\r\n\r\n"), sending(OK)) as bad, Receiver() as good:
        app = make_app(bad, good)
        app.submit(Job, notify=[bad.url, good.url])
        drain(app)
        attempts = bad.wait(2)
        assert len({request.headers["webhook-id"] for request in attempts}) == 1
        assert len({request.body for request in attempts}) == 1
        assert len(good.wait(1)) == 1
    assert [job["status"] for job in hooks(app)] == ["succeeded"] * 2
    [error] = [error for hook in hooks(app) for error in app.info(hook["uuid"])["errors"]]
    assert error["msg"].endswith(f"http://127.0.0.1:{bad.port} answered 500")


def test_it_gives_up_after_three_days() -> None:
    with Receiver(sending(b"HTTP/1.1 404 Odd\r\n\r\n")) as receiver:
        app = make_app(receiver)
        app.submit(Job, notify=[receiver.url])
        drain(app)
        [hook] = hooks(app)
        assert (hook["status"], hook["errorCount"], len(receiver.requests)) == ("failed", 10, 10)


def test_a_receiver_that_is_gone_is_asked_once() -> None:
    with Receiver(sending(b"HTTP/1.1 410 Gone\r\n\r\n")) as receiver:
        app = make_app(receiver)
        app.submit(Job, notify=[receiver.url])
        drain(app)
        assert len(receiver.requests) == 1
    assert [(hook["status"], hook["result"]) for hook in hooks(app)] == [("failed", 410)]


def test_hosts_that_were_not_allowed_are_refused_at_the_submit(receiver: Receiver) -> None:
    app = make_app(receiver)
    with pytest.raises(zerog.InvalidValue, match=r"https://evil.example may not be notified.*Nothing was stored"):
        app.submit(Job, notify=["https://evil.example/token"])
    plain = zerog.App("memory://")
    plain.register(Job)
    with pytest.raises(zerog.InvalidValue, match="may not be notified"):
        plain.submit(Job, notify=[receiver.url])
    assert list(app.jobs()) == list(plain.jobs()) == []


def test_over_rest(receiver: Receiver) -> None:
    app = make_app(receiver)
    api = TestClient(asgi(app), base_url="http://localhost", client=("127.0.0.1", 50_000))
    answer = api.post("/jobs", json={"type": "job", "notify": [receiver.url]})
    assert answer.status_code == 201, answer.text
    refused = api.post("/jobs", json={"type": "job", "notify": ["http://169.254.169.254/token"]})
    assert (refused.status_code, "Nothing was stored" in refused.text, "token" in refused.text) == (422, True, False)
    assert receiver.url not in api.get(answer.json()["links"]["document"]).text
    drain(app)
    assert len(receiver.wait(1)) == 1


@pytest.mark.parametrize("notify", ["https://hooks.example.com", [7], ["no url"], 7])
def test_a_class_with_an_odd_notify_is_refused(notify: Any) -> None:
    with pytest.raises(zerog.InvalidJobClass, match=r"Odd.NOTIFY"):
        zerog.App("memory://").register(type("Odd", (Job,), {"NOTIFY": notify, "JOB_TYPE": "odd"}))


def test_clients_can_make_no_message(receiver: Receiver) -> None:
    """It would be signed."""
    app = make_app(receiver)
    with pytest.raises(Exception, match="Unknown field"):
        app.submit("zerog.webhook", {"message": {"type": "job.succeeded"}, "number": 0})
    victim = app.submit(Job, notify=[receiver.url], delay=3_600)
    forged = app.submit("zerog.webhook", parent=victim.uuid)
    assert run_inline(app, forged.uuid).status == "failed"
    assert receiver.requests == []


def test_urls_are_secrets(receiver: Receiver, tmp_path: Path) -> None:
    """In each view of the job, with its class or without, and of the job that delivers."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = make_app(receiver, url=url)
    job = app.submit(Job, notify=[receiver.url.replace("//", "//ann:hush@") + "/hush?hush"])
    drain(app)
    receiver.wait(1)
    [hook] = hooks(app)
    assert app.datastore.read(make_key(job.uuid))["notify"] != []
    for uuid in (job.uuid, hook["uuid"]):
        document = app.datastore.read(make_key(uuid))
        shown = [
            json.dumps(app.registry.shown(document)),
            json.dumps(zerog.JobRegistry().shown(document)),
            json.dumps(app.info(uuid)),
            str(app.get_job(uuid)),
            CliRunner().invoke(cli, ["jobs", "show", url, uuid, "--json"]).stdout,
        ]
        assert [text for text in shown if "hush" in text] == []
    app.close()


def test_a_job_is_kept_until_its_hooks_have_ended(receiver: Receiver) -> None:
    """Not longer: a receiver that never answers keeps no documents."""
    with Receiver(sending(b"HTTP/1.1 500 Odd\r\n\r\n")) as bad:
        app = make_app(bad)
        job = app.submit(Job, notify=[bad.url])
        run_inline(app, job.uuid)
        with pytest.raises(zerog.JobStateError, match="its web hook is"):
            app.discard(job.uuid)
        drain(app)
    [hook] = web_hooks_of(app.datastore.read(make_key(job.uuid)))
    assert app.progress(hook)["status"] == "failed"
    app.discard(job.uuid)


WORKER = """
import sys, zerog
from tests.webhooks.test_delivery import LOCAL, Job
app = zerog.App(sys.argv[1])
app.register(Job)
app.webhooks({sys.argv[2]: sys.argv[3]}, LOCAL)
zerog.Worker(app, lease=1.0).run()
"""


@pytest.mark.wide
def test_a_worker_that_is_killed_while_it_delivers_costs_no_message(tmp_path: Path) -> None:
    """The next worker sends it again, with the same id."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> None:
        target = f"http://127.0.0.1:{port}"
        processes.append(subprocess.Popen([sys.executable, "-c", WORKER, url, target, SECRET]))

    def kill(_connection: Any) -> None:
        processes[0].send_signal(signal.SIGKILL)

    url = f"sqlite:///{tmp_path}/jobs.db"
    with Receiver(kill, sending(OK)) as receiver:
        app = make_app(receiver, url=url)
        app.submit(Job, notify=[receiver.url])
        try:
            start(receiver.port)
            receiver.wait(1)
            assert processes[0].wait(30) == -signal.SIGKILL
            start(receiver.port)
            first, second = receiver.wait(2)
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert first.body == second.body
            [hook] = hooks(app)
            assert app.wait(hook["uuid"], 60).status == "succeeded"
        finally:
            for process in processes:
                process.terminate()
                process.wait(30)
            app.close()
