"""Live settings: limits of queues, and the queues of roles. Workers and clients follow a change within seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.fleet.commanded import change_document
from zerog.records.fields import LARGEST_COUNT, is_name
from zerog.records.job import Document
from zerog.records.keys import SETTINGS
from zerog.records.settings import Rate, is_limit, part_in, settings_in
from zerog.records.worker import read_record
from zerog.support.checks import check_queue_name, check_text
from zerog.support.clock import to_text


class Keep:
    """In place of a limit: it stays as it is."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final = Keep()


class LiveSettings:
    """The live settings of one datastore, as ``app.fleet.settings``. Every method raises the datastore's errors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def queues(self) -> Document:
        """Return the limits by queue: ``maxRunning``, ``rate``, ``maxWaiting``, those that are set; ``since``, ``by``.

        There are none if the document is damaged.
        """
        return self._part("queues")

    def roles(self) -> Document:
        """Return the roles by name, each with its ``queues`` in order, ``since`` and ``by``; none if it is damaged."""
        return self._part("roles")

    def set_queue(
        self,
        queue: str,
        *,
        max_running: int | Keep | None = KEEP,
        rate: str | Keep | None = KEEP,
        max_waiting: int | Keep | None = KEEP,
        by: str = "",
    ) -> Document:
        """Set limits of a queue; return those that hold now, as ``queues`` does. What isn't given stays as it is.

        ``max_running``: jobs of the queue that run at once. ``rate``: starts, such as ``"100/hour"``; the units are
        second, minute, hour and day. ``max_waiting``: jobs that wait; ``submit`` and ``move`` refuse one beyond it
        with ``QueueFull``. None removes a limit, so that the one of the code holds again. ``by``: the author.

        Raises InvalidValue, and ConfigurationError for a name that no queue here can have.
        """
        self._engine.queue_named(check_queue_name(queue))
        given: Document = {}
        for field, option, number in (
            ("maxRunning", "max_running", max_running),
            ("maxWaiting", "max_waiting", max_waiting),
        ):
            if not isinstance(number, Keep):
                given[field] = _checked(option, number)
        if not isinstance(rate, Keep):
            given["rate"] = None if rate is None else str(Rate.read(rate))
        if not given:
            raise InvalidValue("give max_running, rate or max_waiting, or several of them. Nothing was changed.")
        signed = {"since": to_text(self._engine.now()), "by": check_text("by", by)}

        def limits_of(record: Document) -> Document:
            before = part_in(record, "queues").get(queue, {})
            return {name: value for name, value in {**before, **given}.items() if value is not None} | signed

        def change(record: Document) -> Document:
            limits = limits_of(record)
            others = {name: entry for name, entry in part_in(record, "queues").items() if name != queue}
            return {"queues": {**others, queue: limits} if limits.keys() - signed.keys() else others}

        change_document(self._engine, SETTINGS, settings_in, change)
        return dict(self.queues().get(queue, {}))

    def set_role(self, role: str, queues: Sequence[str], by: str = "") -> None:
        """Set the queues of all workers of a role, in order; those that run follow within seconds.

        A worker ends what it holds of a queue that it leaves. Raises InvalidValue, and ConfigurationError for a name
        that no queue here can have.
        """
        check_role(role)
        if isinstance(queues, str) or not queues:
            raise InvalidValue(f"queues={queues!r:.80}; expected a list of names, at least one. Nothing was changed.")
        for queue in queues:
            self._engine.queue_named(check_queue_name(queue))
        entry = {
            "queues": list(dict.fromkeys(queues)),
            "since": to_text(self._engine.now()),
            "by": check_text("by", by),
        }
        change_document(
            self._engine, SETTINGS, settings_in, lambda record: {"roles": {**part_in(record, "roles"), role: entry}}
        )

    def remove_role(self, role: str) -> bool:
        """Remove a role; False if there is none. Workers that were started with it keep the queues that they have."""

        def change(record: Document) -> Document | None:
            roles = part_in(record, "roles")
            return {"roles": {name: roles[name] for name in roles if name != role}} if role in roles else None

        return change_document(self._engine, SETTINGS, settings_in, change)

    def _part(self, part: str) -> Document:
        record, damage, _ = read_record(self._engine.datastore, SETTINGS)
        try:
            settings_in(record)
            return {} if damage else part_in(record, part)
        except CorruptDocument:  # reported by doctor; the next change makes the document anew
            return {}


def check_role(role: Any) -> str:
    """Return the name of a role. Raises InvalidValue."""
    if not is_name(role) or " " in role or "," in role:
        raise InvalidValue(f"role={role!r:.80}; expected a name without spaces and commas. Nothing was changed.")
    return str(role)


def _checked(option: str, value: Any) -> int | None:
    if value is not None and not is_limit(value):
        raise InvalidValue(
            f"{option}={value!r:.80}; expected a whole number from 1 to {LARGEST_COUNT:,}, or None for no limit. "
            "Nothing was changed."
        )
    return None if value is None else int(value)
