"""Show types, queues, workers and findings; pause queues and drain workers."""

from __future__ import annotations

from typing import Any

from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.jsonschema import described_type, parameters_of
from zerog.maintenance.doctor import Doctor
from zerog.maintenance.rates import to_json
from zerog.web.answer import Answer
from zerog.web.call import Call


def types(call: Call) -> Answer:
    """Return what can be submitted."""
    return Answer({"types": call.app.types()})


def one_type(call: Call) -> Answer:
    """Return one type, with the JSON Schema of its parameters."""
    return Answer(described_type(call.app.job_class(call.path("type"))))


def schema(call: Call) -> Answer:
    """Return the JSON Schema of a type's parameters alone."""
    return Answer(parameters_of(call.app.job_class(call.path("type"))))


def queues(call: Call) -> Answer:
    """Return the queues, and what waits there."""
    return Answer({"queues": call.app.fleet.queues()})


def pause(call: Call) -> Answer:
    """Stop all claims from a queue."""
    try:
        changed = call.app.fleet.pause(call.path("name"), call.body["reason"], call.who)
    except ConfigurationError as error:  # a name that no queue here can have
        raise InvalidValue(str(error)) from error
    return Answer({"name": call.path("name"), "paused": True, "changed": changed})


def resume(call: Call) -> Answer:
    """Let workers claim from a queue again."""
    changed = call.app.fleet.resume(call.path("name"))
    return Answer({"name": call.path("name"), "paused": False, "changed": changed})


def workers(call: Call) -> Answer:
    """Return the workers and their states."""
    return Answer({"workers": call.app.workers()})


def drain(call: Call) -> Answer:
    """Stop workers from claiming jobs."""
    chosen, names = _chosen(call)
    ordered = call.app.fleet.drain(*names, **chosen, for_good=call.body["for_good"], by=call.who)
    return Answer({"workers": ordered})


def undrain(call: Call) -> Answer:
    """Let drained workers claim again."""
    chosen, names = _chosen(call)
    return Answer({"workers": call.app.fleet.undrain(*names, **chosen)})


def _chosen(call: Call) -> tuple[dict[str, Any], list[str]]:
    body = call.body
    return {"host": body.get("host"), "everyone": body.get("all", False)}, body.get("names", [])


def rates(call: Call) -> Answer:
    """Return what workers did in each of the last minutes or hours."""
    shown = call.app.rates(call.query["count"], hourly=call.query["hourly"])
    return Answer({"rates": [to_json(each) for each in shown]})


def diagnose(call: Call) -> Answer:
    """Return what is wrong, and the commands that mend it."""
    app = call.app
    return Answer(Doctor(app.engine, app.registry, app.fleet, call.site.target).examine().to_json())
