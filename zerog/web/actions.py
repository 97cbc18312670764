"""Submit jobs, and steer them: cancel, retry, edit, discard."""

from __future__ import annotations

from typing import Any

from zerog.app import App
from zerog.exceptions import CasMismatch, ConfigurationError, InvalidValue, JobStateError, UnknownJobType
from zerog.jobs.base import BaseJob
from zerog.query import readable
from zerog.web.answer import Answer
from zerog.web.call import Call
from zerog.web.problems import Problem


def submit(call: Call) -> Answer:
    """Store a new job."""
    options = dict(call.body)
    return _submitted(call, options.pop("type"), options.pop("params"), options)


def submit_by_type(call: Call) -> Answer:
    """Store a new job of the type in the path; the body is its parameters, as in the earlier API."""
    return _submitted(call, call.path("type"), call.body, {})


def _submitted(call: Call, job_type: str, params: dict[str, Any], options: dict[str, Any]) -> Answer:
    call.permit({"jobType": job_type})
    app: App = call.app
    app.job_class(job_type)
    try:
        job: BaseJob = app.submit(job_type, params, **options)
    except CasMismatch as error:
        raise Problem(
            409, "JobExists", str(error), "The job of this uuid stays as it is; no other was made."
        ) from error
    except ConfigurationError as error:  # a name that no queue here can have
        raise InvalidValue(str(error)) from error
    if not job.is_new:  # its uuid was chosen, perhaps by another client
        call.site.access.check_job(
            call.request, "read", app.registry.shown(readable(app.datastore, job.uuid, head=True))
        )
    content = {"uuid": job.uuid, "status": job.status, "links": links_of(call, job.uuid)}
    return Answer(content, 201 if job.is_new else 200, {"Location": call.link(f"/jobs/{job.uuid}")})


def links_of(call: Call, uuid: str) -> dict[str, str]:
    """Return the addresses of a job by what they are for."""
    job = f"/jobs/{uuid}"
    paths = {
        "progress": "",
        **{name: f"/{name}" for name in ("info", "data", "document", "stream", "cancel", "retry", "move", "params")},
        **{name: f"/{name}" for name in ("pause", "resume")},
    }
    return {name: call.link(job + path) for name, path in paths.items()}


def cancel(call: Call) -> Answer:
    """Cancel a job, or ask its run to stop."""
    uuid = call.head()["uuid"]
    return Answer({"uuid": uuid, "status": _of_status(call, lambda: call.app.cancel(uuid))})


def pause(call: Call) -> Answer:
    """Pause a job, or ask its run to stop for that."""
    uuid = call.head()["uuid"]
    return Answer(
        {"uuid": uuid, "status": _of_status(call, lambda: call.app.pause(uuid, call.body["reason"], call.who))}
    )


def resume(call: Call) -> Answer:
    """Let a paused job go on."""
    uuid = call.head()["uuid"]
    return Answer({"uuid": uuid, "status": _of_status(call, lambda: call.app.resume(uuid, call.who))})


def retry(call: Call) -> Answer:
    """Let a job that has ended run again."""
    uuid = call.head()["uuid"]
    _of_status(call, lambda: call.app.retry(uuid, call.body["reason"], call.who, reset=call.body["reset"]))
    return Answer({"uuid": uuid, "status": call.app.progress(uuid)["status"]})


def move(call: Call) -> Answer:
    """Move a waiting job to another queue or priority."""
    uuid, body = call.head()["uuid"], call.body
    place = {"queue": body.get("queue"), "priority": body.get("priority")}
    try:
        moved = _of_status(call, lambda: call.app.move(uuid, **place, reason=body["reason"], who=call.who))
    except ConfigurationError as error:  # a name that no queue here can have
        raise InvalidValue(str(error)) from error
    return Answer({"uuid": uuid, "moved": moved})


def edit(call: Call) -> Answer:
    """Change parameters of a job that doesn't run, if it is still as the client saw it."""
    uuid = call.head()["uuid"]
    dry_run, cas = call.query["dry_run"], _token(call)
    if cas is None and not dry_run and "if-match" not in call.request.headers:
        raise Problem(
            428, "TokenNeeded", 'Send If-Match with the "cas" of the document that you changed, or * for any state.'
        )
    options = {"who": call.who, "reason": call.body["reason"], "retry": call.body["retry"]}
    try:
        changed = _of_status(
            call, lambda: call.app.edit(uuid, call.body["params"], **options, cas=cas, dry_run=dry_run)
        )
    except (CasMismatch, call.app.datastore.casException) as error:
        raise Problem(
            412, "Changed", f"job {uuid} was changed since you read it.", "The job stays as it is; read it again."
        ) from error
    except UnknownJobType as error:
        raise Problem(409, "UnknownJobType", str(error), "The job stays as it is.") from error
    return Answer({"uuid": uuid, "written": not dry_run, "changed": changed})


def discard(call: Call) -> Answer:
    """Remove a job that has ended."""
    uuid = call.head()["uuid"]
    _of_status(call, lambda: call.app.discard(uuid, f"by {call.who}"))
    return Answer(status=204, text="")


def _token(call: Call) -> str | None:
    """Return the token in If-Match; None if any will do. Raises Problem."""
    given = call.request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    token = given.removeprefix("W/").strip('"')
    if not token.isascii() or not token.isdigit() or len(token) > 20:
        raise Problem(412, "Changed", "If-Match holds no token of a job.", "The job stays as it is.")
    return token


def _of_status(call: Call, deed: Any) -> Any:
    """Do something whose success depends on the status; a refusal names the present one."""
    try:
        return deed()
    except JobStateError as error:
        status = call.head().get("status")
        raise Problem(
            409, "JobStateError", str(error), f"The job stays as it is: {status}.", errors={"status": [str(status)]}
        ) from error
