"""Show schedules, add and change them, pause, resume, run and remove them; with the paths of all that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from zerog.web import answers, requests
from zerog.web.answer import Answer
from zerog.web.call import Call, Endpoint

_SCHEDULE = "/schedules/{schedule}"


def list_schedules(call: Call) -> Answer:
    """Return the schedules by name."""
    return Answer({"schedules": call.app.schedules.all(call.query["removed"])})


def show(call: Call) -> Answer:
    """Return a schedule, also one that was removed."""
    return Answer(call.app.schedules.get(call.path("schedule")))


def put(call: Call) -> Answer:
    """Add a schedule, or change one."""
    given = dict(call.body)
    every = given.pop("every", None)
    definition = call.app.schedule_definition(
        given.pop("cron", None),
        given.pop("type"),
        given.pop("params"),
        every=None if every is None else timedelta(seconds=every),
        **given,
    )
    return Answer(call.app.schedules.add(call.path("schedule"), definition, call.who))


def restore(call: Call) -> Answer:
    """Store a schedule as the program declares it."""
    return Answer(call.app.schedules.restore(call.path("schedule"), call.who))


def pause(call: Call) -> Answer:
    """Let a schedule have no ticks."""
    name = call.path("schedule")
    changed = call.app.schedules.pause(name, call.body["reason"], call.who)
    return Answer({"name": name, "paused": True, "changed": changed})


def resume(call: Call) -> Answer:
    """Let a paused schedule have ticks again."""
    name = call.path("schedule")
    return Answer({"name": name, "paused": False, "changed": call.app.schedules.resume(name, call.who)})


def run(call: Call) -> Answer:
    """Submit a job of a schedule now."""
    uuid = call.app.schedules.run(call.path("schedule"), call.who)
    return Answer({"uuid": uuid}, 201, {"Location": call.link(f"/jobs/{uuid}")})


def remove(call: Call) -> Answer:
    """Remove a schedule; its jobs stay."""
    call.app.schedules.remove(call.path("schedule"), call.who)
    return Answer(status=204, text="")


def _endpoint(method: str, path: str, handler: Callable[[Call], Answer], summary: str, **more: Any) -> Endpoint:
    action = "read" if method == "GET" else "schedule"
    return Endpoint(method, path, action, handler, summary, **{"problems": (404,), "group": "Schedules", **more})


SCHEDULES = (
    _endpoint(
        "GET",
        "/schedules",
        list_schedules,
        "Schedules by name",
        answers={200: ("Schedules.", answers.Schedules)},
        problems=(),
        query=requests.Removed(),
    ),
    _endpoint(
        "GET", _SCHEDULE, show, "One schedule, with its next five runs", answers={200: ("It.", answers.Schedule)}
    ),
    _endpoint(
        "PUT",
        _SCHEDULE,
        put,
        "Add a schedule, or change one; it is by hand from then on",
        answers={200: ("As it is stored.", answers.Schedule)},
        body=requests.ScheduleDefinition(),
    ),
    _endpoint(
        "POST",
        _SCHEDULE + "/restore",
        restore,
        "Make a schedule what the program declares, in place of what was changed or removed by hand",
        answers={200: ("As it is stored.", answers.Schedule)},
    ),
    _endpoint(
        "POST",
        _SCHEDULE + "/pause",
        pause,
        "Let a schedule submit nothing until it is resumed",
        answers={200: ("It is paused.", answers.Paused)},
        body=requests.Reason(),
    ),
    _endpoint(
        "POST",
        _SCHEDULE + "/resume",
        resume,
        "Let a paused schedule go on with its next tick",
        answers={200: ("It isn't paused.", answers.Paused)},
    ),
    _endpoint(
        "POST",
        _SCHEDULE + "/run",
        run,
        "Submit a job of a schedule now, whatever its times",
        answers={201: ("The job.", answers.Made)},
    ),
    _endpoint("DELETE", _SCHEDULE, remove, "Remove a schedule; its jobs stay", answers={204: ("It is removed.", None)}),
)
