"""assert_submitted, drain and isolated: assertions about code that submits jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.exceptions import CorruptDocument, JobStateError
from zerog.testing import ManualClock, assert_not_submitted, assert_submitted, drain, isolated, ways_out


class Mail(zerog.BaseJob):
    JOB_TYPE = "mail"

    class Params(Schema):
        to = fields.String(required=True)
        day = fields.Date(load_default=date(2026, 1, 1))

    to: str

    def run(self) -> Any:
        if self.to == "nobody":
            raise ValueError("nobody")
        return {"to": self.to}


class Newsletter(zerog.BaseJob):
    """Submits further jobs."""

    JOB_TYPE = "newsletter"
    app: zerog.App

    def run(self) -> Any:
        for name in ("ann", "bob"):
            self.app.submit(Mail, {"to": name}, delay=3600, queue="mails")


class Endless(zerog.BaseJob):
    JOB_TYPE = "endless"

    def run(self) -> Any:
        return zerog.NO_RESULT


@pytest.fixture
def app(zerog_app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> zerog.App:
    zerog_app.register(Mail, Newsletter, Endless)
    monkeypatch.setattr(Newsletter, "app", zerog_app, raising=False)
    return zerog_app


def test_what_was_submitted_is_found(app: zerog.App) -> None:
    app.submit("mail", {"to": "ann"}, priority=3)
    app.submit("mail", {"to": "bob", "day": "2026-02-03"}, queue="later")
    assert [job.to for job in assert_submitted(app, Mail)] == ["ann", "bob"]  # type: ignore[attr-defined]
    assert_submitted(app, "mail", times=2)
    assert_submitted(app, "mail", {"to": "ann"}, times=1, priority=3, queue="default", status="queued")
    assert_submitted(app, "mail", {"day": "2026-02-03"}, times=1)
    assert_submitted(app, "mail", {"day": date(2026, 2, 3)}, times=1, queue="later")
    assert_not_submitted(app, "mail", {"to": "eve"})
    assert_not_submitted(app, Newsletter)


@pytest.mark.parametrize(
    ("claim", "recorded"),
    [
        (lambda app: assert_submitted(app, "mail", {"to": "eve"}), r"0 jobs .*'eve'.*at least one.*'to': 'ann'"),
        (lambda app: assert_submitted(app, "mail", times=2), r"1 jobs .* expected 2\. Submitted: "),
        (lambda app: assert_submitted(app, "mail", queue="x"), r"on queue 'x' .* none of this type, but of mail"),
        (lambda app: assert_submitted(app, "newsletter"), r"none of this type, but of mail"),
        (lambda app: assert_not_submitted(app, "mail"), r"1 jobs .* expected 0"),
        (lambda app: assert_submitted(app, "mail", {"too": "ann"}), r"no field 'too'.*to"),
        (lambda app: assert_not_submitted(app, "mail", {"too": "ann"}), r"no field 'too'"),
    ],
)
def test_a_failed_assertion_shows_what_was_recorded(app: zerog.App, claim: Any, recorded: str) -> None:
    app.submit("mail", {"to": "ann"})
    with pytest.raises(AssertionError, match=recorded):
        claim(app)


def test_an_unregistered_type_is_no_silent_success(app: zerog.App) -> None:
    with pytest.raises(zerog.UnknownJobType, match="maill"):
        assert_not_submitted(app, "maill")
    with pytest.raises(AssertionError, match="nothing at all"):
        assert_submitted(app, "mail")


def test_drain_runs_everything_in_order_and_over_delays(app: zerog.App, zerog_clock: ManualClock) -> None:
    start = zerog_clock.now()
    app.submit("mail", {"to": "late"}, delay=60)
    app.submit("newsletter")
    app.submit("mail", {"to": "first"}, priority=1)
    ended = drain(app)
    assert [job.output["to"] if job.output else None for job in ended] == ["first", None, "late", "ann", "bob"]
    assert {job.status for job in ended} == {"succeeded"}
    assert zerog_clock.now() - start >= timedelta(hours=1)
    assert drain(app) == []


def test_drain_without_jumping_runs_what_is_due(app: zerog.App, zerog_clock: ManualClock) -> None:
    app.submit("newsletter")
    assert [job.jobType for job in drain(app, jump=False)] == ["newsletter"]
    assert_submitted(app, "mail", status="scheduled", times=2)
    zerog_clock.advance(3600)
    assert [job.jobType for job in drain(app, jump=False)] == ["mail", "mail"]


def test_drain_returns_how_runs_ended_and_gives_up_on_the_endless(app: zerog.App) -> None:
    app.submit("mail", {"to": "nobody"})
    [failed] = drain(app)
    assert (failed.status, failed.errorCount, ways_out(failed)) == ("failed", 3, ("exception",) * 3)
    app.submit("endless")
    with pytest.raises(JobStateError, match="after 20 runs"):
        drain(app, max_runs=20)


def test_drain_names_what_no_worker_would_take(app: zerog.App) -> None:
    uuid = app.submit("mail", {"to": "ann"}).uuid
    other = zerog.App(datastore=app.datastore, queue=app.queue)
    with pytest.raises(CorruptDocument, match=f"{uuid}.*mail"):
        drain(other)


def test_an_isolated_app_keeps_its_middleware_and_has_its_own_resources(tmp_path: Path) -> None:
    recorded: list[str] = []
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.middleware
    @contextmanager
    def noted(job: Any) -> Iterator[None]:
        recorded.append("middleware")
        yield

    def pretended() -> Iterator[str]:
        yield "pretended"
        recorded.append("closed")

    app.resource("mailer", lambda: pytest.fail("the real one was opened"))
    app.resource("name", lambda: f"the {app.resources.mailer} one")

    @app.job
    def greet(job: Any) -> dict[str, str]:
        return {"by": job.resources.name}

    with isolated(app, resources={"mailer": pretended}):
        app.submit("greet")
        assert [job.output for job in drain(app)] == [{"by": "the pretended one"}]
        assert recorded == ["middleware"]
    assert recorded == ["middleware", "closed"]
    with (
        pytest.raises(zerog.ConfigurationError, match="did you mean 'mailer'"),
        isolated(app, resources={"mail": list}),
    ):
        pass
    app.close()


def test_an_app_is_isolated_for_the_length_of_a_block(tmp_path: Path) -> None:
    """Nothing reaches its own file; imported objects stay the same; afterwards all is as before."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    app.register(Mail)
    kept = app.submit("mail", {"to": "real"}).uuid

    def test() -> None:
        with isolated(app) as same:
            assert same is app
            assert list(app.jobs()) == []
            app.submit("mail", {"to": "ann"}, delay=10)
            assert [job.output for job in drain(app)] == [{"to": "ann"}]
            raise KeyError("in the test")

    with pytest.raises(KeyError, match="in the test"):
        test()
    assert [state["uuid"] for state in app.jobs()] == [kept]
    assert app.progress(kept)["status"] == "queued"
    app.close()
