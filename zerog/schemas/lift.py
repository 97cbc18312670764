"""Send example documents through the migrations and loads of a job class."""

from __future__ import annotations

from typing import Any

from zerog.exceptions import ZerogError
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of
from zerog.records.job import new_document
from zerog.schemas.compare import Lift

_UUID, _NOW = "00000000-0000-7000-8000-000000000000", "2026-01-31T12:30:00.000000Z"


def lift_of(job_class: type[BaseJob]) -> Lift:
    """Return the function that migrates and loads a document of fields alone, as a worker does when it claims one."""
    declaration = declaration_of(job_class)

    def lift(document: dict[str, Any]) -> tuple[str | None, list[str]]:
        head = {**new_document(declaration.job_type, document["schemaVersion"], _NOW, _UUID), **document}
        for name in ("events", "errors", "warnings"):
            head.pop(name, None)
        try:
            lifted = declaration.chain.lift(head)
            _, unknown = declaration.load(lifted)
        except ZerogError as error:
            return _short(str(error), declaration.job_type), []
        return None, declaration.undeclared(unknown)

    return lift


def _short(message: str, job_type: str) -> str:
    """Return an error's message without the example's own uuid, and without what becomes of a stored job."""
    for part in (f" for job {_UUID}", f"job {_UUID} of type {job_type} has ", f"job {_UUID} has "):
        message = message.replace(part, "")
    return (
        message.replace("; it was left as it is", "")
        .replace("The document was left as it is.", "")
        .replace("; the document was left as it is", "")
        .strip()
    )
