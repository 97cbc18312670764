"""``App.edit``; filters on the last error."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, pre_load, validate

import zerog
from zerog.jobs.secrets import HIDDEN
from zerog.records.job import make_key
from zerog.records.operations import Set


class Import(zerog.BaseJob):
    """Fails until its URL is right."""

    JOB_TYPE = "import"
    SCHEMA_VERSION = "2.0"
    MAX_ERRORS = 1

    class Params(Schema):
        address = fields.String(required=True, data_key="url")
        limit = fields.Integer(load_default=10, validate=validate.Range(min=1))
        token = fields.String(load_default="", metadata={"secret": True})
        day = fields.Date(load_default=None, allow_none=True)

    class State(Schema):
        seen = fields.Integer(load_default=0)

    address: str
    limit: int

    @zerog.migration("1.0", "2.0")
    def renamed(document: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        document["url"] = document.pop("link")
        return document

    def run(self) -> Any:
        if self.address == "bad":
            raise ConnectionError(f"no route to {self.address}")
        return {"from": self.address, "limit": self.limit}


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://")
    app.register(Import)
    return app


@pytest.fixture
def failed(app: zerog.App) -> str:
    uuid = app.submit(Import, {"url": "bad"}).uuid
    zerog.Worker(app).run(burst=True)
    assert app.progress(uuid)["status"] == "failed"
    return uuid


def test_an_edited_job_is_retried_and_succeeds(app: zerog.App, failed: str) -> None:
    """The one parameter that was given changes; the event has who, why and what."""
    changed = app.edit(failed, {"url": "good"}, who="alice", reason="the mirror is gone", retry=True)
    assert changed == {"url": {"old": "bad", "new": "good"}}
    zerog.Worker(app).run(burst=True)
    assert app.get_job(failed).output == {"from": "good", "limit": 10}
    event = app.info(failed)["events"][-1]
    assert (event["who"], event["reason"], event["changed"]) == ("alice", "the mirror is gone", changed)


def test_a_dry_run_shows_the_difference_only(app: zerog.App, failed: str) -> None:
    """Values are compared as they would be stored; a value as it is now is no difference."""
    before = app.datastore.read_with_cas(make_key(failed))
    given = {"limit": "5", "day": "2026-05-01", "url": "bad"}
    assert app.edit(failed, given, who="alice", reason="typo", dry_run=True) == {
        "limit": {"old": 10, "new": 5},
        "day": {"old": None, "new": "2026-05-01"},
    }
    assert app.edit(failed, {"url": "bad"}, who="alice", reason="typo") == {}
    assert app.datastore.read_with_cas(make_key(failed)) == before


@pytest.mark.parametrize(
    ("params", "field"),
    [({"limit": 0}, "limit"), ({"seen": 5}, "seen"), ({"status": "queued"}, "status"), ({"address": "x"}, "address")],
)
def test_params_validates_what_is_given(app: zerog.App, failed: str, params: dict[str, Any], field: str) -> None:
    """As at a submit: what a client may not set can't be edited."""
    before = app.datastore.read(make_key(failed))
    with pytest.raises(ValidationError) as raised:
        app.edit(failed, params, who="alice", reason="typo")
    assert [*raised.value.normalized_messages()] == [field]
    assert app.datastore.read(make_key(failed)) == before


@pytest.mark.parametrize(
    "wrong", [{"who": ""}, {"reason": " "}, {"who": None}, {"cas": "x"}, {"cas": True}, {"params": {}}]
)
def test_an_edit_without_a_name_is_refused(app: zerog.App, failed: str, wrong: dict[str, Any]) -> None:
    """The user and the reason are what the record is for; a token is a number."""
    given: dict[str, Any] = {"params": {"limit": 3}, "who": "alice", "reason": "typo", **wrong}
    with pytest.raises(zerog.InvalidValue, match=r"[Nn]othing was changed"):
        app.edit(failed, given.pop("params"), **given)


def test_other_parameters_that_convert_are_left_as_they_are(app: zerog.App) -> None:
    """What is stored is no client's input: it isn't converted and validated once more."""

    class Hundredfold(fields.Integer):
        def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
            return super()._deserialize(value, *args, **kwargs) * 100

    class Cents(Schema):
        amount = Hundredfold(required=True)

        @pre_load
        def unwrap(self, data: Any, **_: Any) -> Any:
            return data["wrapped"]

    class Pay(zerog.BaseJob):
        JOB_TYPE = "pay"

        class Params(Schema):
            cents = fields.Nested(Cents, required=True)
            hundreds = Hundredfold(required=True, data_key="theHundreds", validate=validate.Range(max=500))
            note = fields.String(load_default="")

        def run(self) -> Any:
            return {"cents": self.cents, "hundreds": self.hundreds, "note": self.note}  # type: ignore[attr-defined]

    app.register(Pay)
    uuid = app.submit("pay", {"cents": {"wrapped": {"amount": 2}}, "theHundreds": 5}).uuid
    app.edit(uuid, {"note": "n"}, who="me", reason="r")
    app.edit(uuid, {"theHundreds": 4}, who="me", reason="r")
    zerog.Worker(app).run(burst=True)
    assert app.get_job(uuid).output == {"cents": {"amount": 200}, "hundreds": 400, "note": "n"}


def test_a_name_that_the_schema_turns_into_another_is_refused(app: zerog.App) -> None:
    """The input of a hook and the stored value differ; only the stored value can be edited."""

    class Renaming(Import):
        JOB_TYPE = "renaming"

        class Params(Schema):
            url = fields.String(required=True)

            @pre_load
            def renamed(self, data: dict[str, Any], **_kwargs: object) -> dict[str, Any]:
                return {"url": data["link"]} if "link" in data else data

        def run(self) -> Any:
            return 200

    app.register(Renaming)
    uuid = app.submit(Renaming, {"link": "good"}).uuid
    with pytest.raises(ValidationError, match="Isn't stored under this name"):
        app.edit(uuid, {"link": "better"}, who="alice", reason="typo")
    assert app.edit(uuid, {"url": "better"}, who="alice", reason="typo")


class WaysOut(zerog.BaseJob):
    """Fails as its ``way`` names."""

    JOB_TYPE = "ways_out"
    MAX_ERRORS = 1

    class Params(Schema):
        way = fields.String(required=True)

    way: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.way == "init" and self.status != "new":
            raise RuntimeError("no object")

    def record_result(self, resultCode: int) -> None:
        if self.way == "hook":
            raise RuntimeError("no hook")
        super().record_result(resultCode)

    def run(self) -> Any:
        if self.way == "raise":
            raise RuntimeError("no run")
        if self.way == "finish":
            self.raise_error_finish(404, "no file")
        if self.way == "continue":
            self.raise_error_continue(503, "no server")
        return "no code" if self.way == "value" else {"x": "y" * 5_000_000} if self.way == "large" else None


@pytest.mark.parametrize("way", ["init", "hook", "raise", "finish", "continue", "value", "large"])
def test_every_way_to_record_an_error_shows_it_in_the_head(app: zerog.App, way: str) -> None:
    """On every way out: the last error of the head is the last one of the history."""
    app.register(WaysOut)
    uuid = app.submit(WaysOut, {"way": way}).uuid
    zerog.Worker(app).run(burst=True)
    document = app.datastore.read(make_key(uuid))
    last = document["errors"][-1]
    assert document["status"] == "failed"
    assert document["lastError"] == {
        "timestamp": last["timestamp"],
        "errorCode": last["errorCode"],
        "type": last.get("type"),
        "msg": last["msg"],
        "fingerprint": last["fingerprint"],
    }


def test_an_edit_under_an_older_token_is_refused(app: zerog.App, failed: str) -> None:
    """The token of a job object is taken as it is, as text."""
    job = app.get_job(failed)
    app.edit(failed, {"limit": 3}, who="alice", reason="typo", cas=job.cas)
    with pytest.raises(zerog.CasMismatch, match="Read it again"):
        app.edit(failed, {"limit": 4}, who="bob", reason="typo", cas=job.cas)
    assert app.get_job(failed).limit == 3  # type: ignore[attr-defined]


def test_an_older_document_is_lifted_by_the_edit(app: zerog.App, failed: str) -> None:
    """It is stored in its new form together with the change."""
    key = make_key(failed)
    document = app.datastore.read(key)
    document["link"] = document.pop("url")
    app.datastore.set(key, {**document, "schemaVersion": 1.0})
    app.edit(failed, {"limit": 3}, who="alice", reason="typo")
    stored = app.datastore.read(key)
    assert (stored["url"], stored["limit"], stored["schemaVersion"]) == ("bad", 3, 2.0)
    assert "link" not in stored


def test_a_value_that_can_t_be_loaded_is_mended(app: zerog.App, failed: str) -> None:
    """A document that could not be run any more is what an edit is for."""
    app.datastore.mutate(make_key(failed), [Set("limit", "many")])
    with pytest.raises(zerog.CorruptDocument):
        app.get_job(failed)
    app.edit(failed, {"limit": 3}, who="alice", reason="typo")
    assert app.get_job(failed).limit == 3  # type: ignore[attr-defined]


def test_long_values_are_shortened_and_secrets_hidden(app: zerog.App, failed: str) -> None:
    """In the answer, in the event and in the log."""
    changed = app.edit(failed, {"url": "x" * 5_000, "token": "hush"}, who="alice", reason="new token")
    assert changed["token"] == {"old": HIDDEN, "new": HIDDEN}
    assert len(changed["url"]["new"]) < 250
    assert "hush" not in str(app.info(failed))
    assert app.get_job(failed).token == "hush"  # type: ignore[attr-defined]


def test_what_is_done_by_hand_is_logged(app: zerog.App, failed: str, caplog: pytest.LogCaptureFixture) -> None:
    """Edit, retry and discard are transitions like any other; values of parameters are never among them."""
    with caplog.at_level(logging.INFO, "zerog"):
        app.edit(failed, {"url": "elsewhere"}, who="alice", reason="typo", retry=True)
        app.cancel(failed)
        app.discard(failed, "not needed any more")
    recorded = [(record.__dict__["transition"], record.message) for record in caplog.records]
    assert [transition for transition, _ in recorded] == ["edited", "retried", "cancelled", "discarded"]
    assert recorded[0][1].endswith("edited by alice: url; typo")
    assert recorded[-1][1].endswith("discarded after cancelled: not needed any more")
    assert "elsewhere" not in caplog.text


# filters


def test_jobs_are_found_by_their_last_error(app: zerog.App, failed: str) -> None:
    """By type with or without module, by a part of the message in any case, by code; all together narrow it."""
    other = app.submit(Import, {"url": "good"}).uuid
    zerog.Worker(app).run(burst=True)

    def found(**query: Any) -> list[str]:
        return [job["uuid"] for job in app.jobs(**query)]

    assert found(error="ConnectionError") == found(error="NO ROUTE") == found(code=500) == [failed]
    assert found(error="Connection") == []  # it looks like a class, so it is compared as a whole
    assert found(error="ConnectionError: no") == [failed]  # any other text may be a part of the message
    assert found(error="TimeoutError") == found(code=404) == found(error="no route", code=200) == []
    assert found(code=200) == [other]
    assert found(error="ConnectionError", status="failed", job_type=Import, limit=1) == [failed]
    assert app.progress(failed)["lastError"]["type"] == "ConnectionError"
    for wrong in ({"error": ""}, {"error": 5}, {"code": "500"}):
        with pytest.raises(zerog.InvalidValue, match="expected"):
            app.jobs(**wrong)  # type: ignore[arg-type]


def test_a_limit_counts_what_is_found(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the number that was read, over pages that hold nothing."""
    monkeypatch.setattr("zerog.query.PAGE", 2)
    for url in ["good"] * 5 + ["bad"] * 3:
        app.submit(Import, {"url": url})
    zerog.Worker(app).run(burst=True)
    assert [len([*app.jobs(error="ConnectionError", limit=limit)]) for limit in (0, 2, None)] == [0, 2, 3]


def test_a_document_of_older_code_has_no_last_error(app: zerog.App, failed: str) -> None:
    """It is listed and loaded as before, and no filter on errors finds it."""
    key = make_key(failed)
    document = app.datastore.read(key)
    del document["lastError"]
    app.datastore.set(key, document)
    assert [job["lastError"] for job in app.jobs(status="failed")] == [None]
    assert [*app.jobs(error="ConnectionError")] == []
    assert app.get_job(failed).lastError is None
    app.retry(failed)
    zerog.Worker(app).run(burst=True)
    assert app.progress(failed)["lastError"]["errorCode"] == 500
