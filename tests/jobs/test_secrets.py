"""Secret fields: the job and its document have the value, and nothing that shows a job shows it."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

import zerog
from tests.cli.builders import zerog_command
from tests.marks import wide
from zerog.jobs.logfields import JobFields
from zerog.jobs.secrets import HIDDEN
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.support.clock import SYSTEM
from zerog.testing import assert_submitted, run_inline

SECRET = "hush-hush-0451"
PIN, CODE = 451_000_000_451, 987_650_056_789
"""Long, so that no timestamp and no uuid happens to have their digits."""
NEW_SECRET = "still-hush-0452"

APP = """
import zerog
from marshmallow import Schema, fields, validate

class Fetch(zerog.BaseJob):
    JOB_TYPE = "fetch"
    MAX_ERRORS = 2

    class Params(Schema):
        url = fields.String(required=True)
        token = fields.String(
            required=True,
            metadata={"secret": True},
            validate=validate.Regexp("h|still", error="{input} is no token"),
        )

    class State(Schema):
        session = fields.Dict(load_default=dict, metadata={"secret": True})

    def run(self):
        self.update_attrs(session={"cookie": self.token + "!"}, flush=False)
        self.record_event("logged in")
        if self.url == "bad":
            raise ConnectionError(f"no route to {self.url}")
        with open("used", "w") as file:
            file.write(self.token)
        return {"ok": True}

app = zerog.App("sqlite:///jobs.db")
app.register(Fetch)
"""


@pytest.mark.parametrize("executor", ["thread", *wide("process")])
@pytest.mark.wide
def test_a_whole_session_shows_no_secret(tmp_path: Path, executor: str) -> None:
    """Submit, fail, look, edit, retry, succeed, with every command and a worker at DEBUG; one job can't be loaded."""
    (tmp_path / "myapp.py").write_text(APP)
    outputs: list[str] = []

    def run(*arguments: str, code: int = 0, text: str = "") -> str:
        done = zerog_command(*arguments, folder=tmp_path, text=text, ZEROG_APP="myapp:app")
        outputs.append(f"{arguments}: {done.stdout}{done.stderr}")
        assert done.returncode == code, outputs[-1]
        return done.stdout

    def worker() -> None:
        run("worker", "--burst", "--log-level", "DEBUG", "--log-format", "json", "--executor", executor)

    given = {"url": "bad", "token": SECRET}
    uuid = run("submit", "fetch", "--json", "-", text=json.dumps(given)).strip()
    broken = run("submit", "fetch", "--json", "-", text=json.dumps(given)).strip()
    run("submit", "fetch", "--json", "-", text=json.dumps({"url": "bad", "token": f"x{SECRET}".upper()}), code=2)
    store = zerog.App(f"sqlite:///{tmp_path}/jobs.db").datastore
    store.mutate(make_key(broken), [Set("token", [SECRET])])
    worker()
    SYSTEM.pause(1.1)  # the pause after a first error
    worker()
    assert run("jobs", "ls", "--status", "failed", "--json").count(uuid) == 1
    run("doctor", code=1)
    run("doctor", "--json", code=1)
    run("types", "--schema")
    for command in (["jobs", "show", uuid], ["jobs", "show", uuid, "--json"], ["jobs", "show", broken], ["jobs", "ls"]):
        run(*command)
    run("progress", uuid, code=1)
    new = json.dumps({"url": "good", "token": NEW_SECRET})
    run("jobs", "edit", uuid, "--params", "-", "--reason", "it moved", "--dry-run", text=new)
    run("jobs", "edit", uuid, "--params", "-", "--reason", "it moved", "--retry", "--json", text=new)
    worker()
    run("jobs", "show", uuid, "--json")
    run("jobs", "edit", uuid, "--params", "-", "--reason", "no", text='{"token": "' + SECRET.upper() + '"}', code=2)
    run("reconcile")
    run("jobs", "cancel", broken)
    run("jobs", "rm", uuid, broken)
    everything = "\n".join(outputs)
    for secret in (SECRET, NEW_SECRET, SECRET.upper(), "cookie"):
        assert secret not in everything, next(text for text in outputs if secret in text)
    assert everything.count(HIDDEN) > 5
    assert "no route to bad" in everything
    assert (tmp_path / "used").read_text() == NEW_SECRET


class Login(zerog.BaseJob):
    """Has secrets of several kinds."""

    JOB_TYPE = "login"

    class Params(Schema):
        name = fields.String(load_default="alice")
        pin = fields.Integer(load_default=PIN, data_key="code", metadata={"secret": True})
        words = fields.List(
            fields.String(validate=validate.Length(max=20)), load_default=list, metadata={"secret": True}
        )

        @validates_schema
        def both(self, data: dict[str, Any], **_kwargs: object) -> None:
            if data["name"] == "nobody":
                raise ValidationError("nobody can log in")

    name: str
    pin: int
    words: list[str]

    def run(self) -> Any:
        return 200


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")
    made.register(Login)
    return made


def test_what_shows_a_job_hides_its_secrets(app: zerog.App, capsys: pytest.CaptureFixture[str]) -> None:
    """As text, as JSON values and where types are described; the attribute and the stored document have them."""
    job = app.submit(Login, {"code": CODE, "words": [SECRET]})
    seen = app.get_job(job.uuid)
    shown = [str(job), repr(job), job.dumps(), seen.dumps(), str(seen.dump()), str(app.info(job.uuid))]
    shown.append(str(app.registry.shown(app.datastore.read(job.key()))))
    shown.append(str(app.types()))
    for text in shown:
        assert SECRET not in text
        assert str(CODE) not in text
        assert str(PIN) not in text
    assert seen.dump()["code"] == seen.dump()["words"] == HIDDEN
    assert seen.dump()["name"] == "alice"
    assert (seen.pin, seen.words) == (CODE, [SECRET])  # type: ignore[attr-defined]
    stored = app.datastore.read(job.key())
    assert (stored["code"], stored["words"]) == (CODE, [SECRET])
    properties = app.types()[0]["params"]["properties"]
    assert properties["code"] == {"type": "integer", "writeOnly": True}
    assert properties["name"] == {"type": "string", "default": "alice"}
    with pytest.raises(AssertionError) as failed:
        assert_submitted(app, Login, {"words": ["other"]})
    assert SECRET not in str(failed.value)
    assert HIDDEN in str(failed.value)
    assert_submitted(app, Login, {"words": [SECRET]})


def test_saved_and_changed_secrets_stay_what_they_are(app: zerog.App) -> None:
    """Hiding is for readers: no way of storing a job stores what is shown instead."""
    job = Login(app.datastore, app.queue, words=[SECRET])
    job.save()
    seen = app.get_job(job.uuid)
    seen.update_attrs(words=[NEW_SECRET])  # type: ignore[call-arg]
    seen.name = "bob"  # type: ignore[attr-defined]
    seen.save()
    seen.enqueue()
    run_inline(app, job.uuid)
    again = app.get_job(job.uuid)
    assert (again.words, again.name, again.status) == ([NEW_SECRET], "bob", "succeeded")  # type: ignore[attr-defined]


def test_the_fields_of_an_unknown_type_are_hidden(app: zerog.App) -> None:
    """It is unknown which of them are secret."""
    job = app.submit(Login, {"words": [SECRET]})
    document = app.datastore.read(job.key())
    app.unregister("login")
    shown = app.registry.shown(document)
    assert shown["words"] == shown["name"] == HIDDEN
    assert (shown["status"], shown["events"]) == (document["status"], [])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda app: app.submit(Login, {"code": SECRET}),
        lambda app: app.submit(Login, {"words": [SECRET * 5]}),
        lambda app: app.submit(Login, {"words": SECRET}),
        lambda app: app.submit(Login).update_attrs(pin=SECRET),
        lambda app: app.submit(Login).update_attrs(words=[SECRET * 5]),
        lambda app: app.submit(Login).update_attrs(words=[{SECRET: {1: 2}}]),
        lambda app: Login(app.datastore, app.queue, pin=SECRET).save(),
        lambda app: app.edit(app.submit(Login).uuid, {"code": SECRET}, who="alice", reason="x"),
        lambda app: app.edit(app.submit(Login, {"words": [SECRET]}).uuid, {"name": "nobody"}, who="a", reason="x"),
    ],
)
def test_an_error_contains_nothing_of_a_secret(app: zerog.App, wrong: Callable[[zerog.App], object]) -> None:
    """Neither its message nor its traceback; the field is named."""
    with pytest.raises((ValidationError, zerog.InvalidValue)) as raised:
        wrong(app)
    text = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + str(vars(raised.value))
    assert SECRET not in text
    assert any(name in str(raised.value) for name in ("code", "pin", "words", "nobody"))


def test_a_missing_secret_is_reported_like_any_field(app: zerog.App) -> None:
    """There is nothing to hide in it."""

    class Needs(Login):
        JOB_TYPE = "needs"

        class Params(Schema):
            token = fields.String(required=True, metadata={"secret": True})

    app.register(Needs)
    with pytest.raises(ValidationError, match="token"):
        app.submit(Needs, {})


def test_a_stored_secret_that_can_t_be_read(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    """The reason for leaving the job alone names the field."""
    caplog.handler.addFilter(JobFields())
    job = app.submit(Login)
    app.datastore.mutate(job.key(), [Set("code", SECRET)])
    with pytest.raises(zerog.CorruptDocument, match="a secret code, which is no Integer") as raised:
        app.get_job(job.uuid)
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    with caplog.at_level(logging.DEBUG):
        zerog.Worker(app).run(burst=True)
    assert SECRET not in caplog.text
    assert SECRET not in str(app.engine.skipped)


class Inner(Schema):
    """Part of a field."""

    token = fields.String(metadata={"secret": True})


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (fields.Nested(Inner), "token is marked as secret; expected the mark on the whole field"),
        (fields.List(fields.Nested(Inner)), "token is marked"),
        (fields.List(fields.String(metadata={"secret": True})), r"a part \(String\) is marked"),
        (fields.Dict(values=fields.String(metadata={"secret": True})), "is marked as secret"),
        (fields.String(metadata={"secret": "yes"}), "secret='yes'.*expected True"),
    ],
)
def test_a_mark_that_would_hide_nothing_is_refused(app: zerog.App, field: Any, message: str) -> None:
    """At registration, with what was expected; on the whole field it is taken."""
    broken = type("Broken", (Login,), {"JOB_TYPE": "broken", "Params": type("Params", (Schema,), {"part": field})})
    with pytest.raises(zerog.InvalidJobClass, match=message):
        app.register(broken)
    whole = type(field)(Inner, metadata={"secret": True}) if isinstance(field, fields.Nested) else None
    if whole is not None:
        app.register(type("Whole", (Login,), {"JOB_TYPE": "w", "Params": type("Params", (Schema,), {"part": whole})}))
