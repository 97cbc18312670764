"""Show and change live settings: the queues of roles, and the limits of queues; with the paths of all that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.fleet.settings import check_role
from zerog.maintenance.limits import limits_now
from zerog.records.commands import SILENT
from zerog.records.job import Document
from zerog.support.checks import check_queue_name
from zerog.web import answers, requests
from zerog.web.answer import Answer
from zerog.web.call import Call, Endpoint
from zerog.web.problems import Problem

_ROLE, _LIMITS = "/roles/{role}", "/queues/{name}/settings"


def list_roles(call: Call) -> Answer:
    """Return the roles by name, also those that workers have and that aren't set."""
    stored, having = call.app.fleet.settings.roles(), _workers(call)
    return Answer({"roles": [_role(name, stored, having) for name in sorted({*stored, *having})]})


def show_role(call: Call) -> Answer:
    """Return one role."""
    name, stored, having = check_role(call.path("role")), call.app.fleet.settings.roles(), _workers(call)
    if name not in stored and name not in having:
        raise _no_role(name, {*stored, *having})
    return Answer(_role(name, stored, having))


def put_role(call: Call) -> Answer:
    """Set the queues of a role."""
    try:
        call.app.fleet.settings.set_role(call.path("role"), call.body["queues"], call.who)
    except ConfigurationError as error:  # a name that no queue here can have
        raise InvalidValue(str(error)) from error
    return show_role(call)


def remove_role(call: Call) -> Answer:
    """Remove a role; its workers keep their queues."""
    name, settings = check_role(call.path("role")), call.app.fleet.settings
    if not settings.remove_role(name):
        raise _no_role(name, set(settings.roles()))
    return Answer(status=204, text="")


def show_limits(call: Call) -> Answer:
    """Return what is set of a queue."""
    name = check_queue_name(call.path("name"))
    return Answer(_limits(name, call.app.fleet.settings.queues().get(name, {})))


def patch_limits(call: Call) -> Answer:
    """Change limits of a queue; what isn't given stays."""
    name = call.path("name")
    try:
        held = call.app.fleet.settings.set_queue(name, **call.body, by=call.who)
    except ConfigurationError as error:  # a name that no queue here can have
        raise InvalidValue(str(error)) from error
    return Answer(_limits(name, held))


def list_limits(call: Call) -> Answer:
    """Return the limits that hold now."""
    app = call.app
    found = limits_now(app.engine, app.registry.client_classes(), call.query.get("type"))
    return Answer({"limits": found.each, "is_capped": found.is_capped})


def _workers(call: Call) -> Counter[str]:
    """Return how many workers have each role."""
    alive = (worker["config"] for worker in call.app.workers() if worker["state"] != SILENT)
    return Counter(str(config["role"]) for config in alive if isinstance(config, dict) and config.get("role"))


def _role(name: str, stored: Document, having: Counter[str]) -> dict[str, Any]:
    unset = {"queues": None, "since": None, "by": None}
    return {"name": name, **unset, **stored.get(name, {}), "workers": having[name]}


def _limits(name: str, held: Document) -> dict[str, Any]:
    unset = dict.fromkeys(("maxRunning", "rate", "maxWaiting", "since", "by"))
    return {"name": name, **unset, **held}


def _no_role(name: str, known: set[str]) -> Problem:
    return Problem(404, "RoleNotFound", f"there is no role {name}; known: {', '.join(sorted(known)) or 'none'}.")


def _endpoint(method: str, path: str, handler: Callable[[Call], Answer], summary: str, **more: Any) -> Endpoint:
    action = "read" if method == "GET" else "configure"
    return Endpoint(method, path, action, handler, summary, **{"group": "Fleet", **more})


SETTINGS = (
    _endpoint("GET", "/roles", list_roles, "Roles by name", answers={200: ("Roles.", answers.Roles)}),
    _endpoint(
        "GET",
        _ROLE,
        show_role,
        "The queues of one role, and how many workers have it",
        answers={200: ("It.", answers.Role)},
        problems=(404,),
    ),
    _endpoint(
        "PUT",
        _ROLE,
        put_role,
        "Set the queues of a role, in order; its workers follow within seconds",
        answers={200: ("As it is stored.", answers.Role)},
        problems=(404,),
        body=requests.RoleQueues(),
    ),
    _endpoint(
        "DELETE",
        _ROLE,
        remove_role,
        "Remove a role; its workers keep their queues",
        answers={204: ("It is removed.", None)},
        problems=(404,),
    ),
    _endpoint(
        "GET",
        _LIMITS,
        show_limits,
        "The limits that are set of a queue; null for what isn't",
        answers={200: ("Limits.", answers.QueueSettings)},
    ),
    _endpoint(
        "PATCH",
        _LIMITS,
        patch_limits,
        "Change limits of a queue: null removes one, what isn't given stays",
        answers={200: ("What is set now.", answers.QueueSettings)},
        body=requests.QueueLimits(),
    ),
    Endpoint(
        "GET",
        "/limits",
        "list",
        list_limits,
        "The limits of types, keys and queues that hold now, with how many jobs run and are parked",
        {200: ("Limits.", answers.Limits)},
        query=requests.LimitsOf(),
        group="Fleet",
    ),
)
