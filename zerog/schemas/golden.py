"""Golden documents: masked documents of a type's every version and status, kept in the repository and read for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zerog.contracts.datastore import Datastore
from zerog.contracts.find import NEWEST, FindQuery
from zerog.exceptions import ZerogError
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of
from zerog.records.job import STATUSES, Document, make_key
from zerog.schemas.describe import described
from zerog.schemas.lift import lift_of
from zerog.schemas.masking import masked

GOLDEN = 1
"""Layout of a golden file."""

EXAMINED = 1_000
"""Jobs of each type and status among which one of each version is looked for, the newest first."""


class GoldenUnreadable(ZerogError):
    """A file that holds no golden document."""


@dataclass(frozen=True)
class Sample:
    """A masked document, or why there is none."""

    job_type: str
    version: float
    status: str
    document: Document | None
    problem: str | None = None

    @property
    def file_name(self) -> str:
        """Name of its file: ``report-1.0-failed.json``."""
        return f"{quote(self.job_type, safe=' ')}-{self.version}-{self.status}.json"


def sample(datastore: Datastore, job_class: type[BaseJob]) -> Iterator[Sample]:
    """Yield a masked document of each version and status of a type, of its newest jobs.

    Raises the datastore's errors.
    """
    declaration, found = declaration_of(job_class), set[tuple[float, str]]()
    own, lift = described(job_class), lift_of(job_class)
    for status in STATUSES:
        query = FindQuery(status=status, job_type=declaration.job_type, order=NEWEST, limit=EXAMINED)
        for head in datastore.find(query).heads:
            version = head.get("schemaVersion")
            if not isinstance(version, (int, float)) or (version, status) in found:
                continue
            document = datastore.read(make_key(head["uuid"]))
            if document is None or document.get("schemaVersion") != version or document.get("status") != status:
                continue  # it has changed since
            found.add((version, status))
            made = masked({name: value for name, value in document.items() if name != "cas"}, own)
            before, after = lift(document)[0], lift(made)[0]
            problem = None if after is None or before is not None else f"it can't be masked so that it loads: {after}"
            yield Sample(declaration.job_type, version, status, None if problem else made, problem)


def write(found: Sample, folder: Path) -> Path:
    """Write a sample's file; one that is there is replaced. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / found.file_name
    text = json.dumps({"golden": GOLDEN, "document": found.document}, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read_golden(path: Path) -> Document:
    """Return the document in a golden file. Raises GoldenUnreadable, naming the file."""
    try:
        whole: Any = json.loads(path.read_text(encoding="utf-8"))
        if whole["golden"] != GOLDEN:
            raise ValueError(f"layout {whole['golden']!r:.40}, expected {GOLDEN}")
        make_key(whole["document"]["uuid"])
        return dict(whole["document"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise GoldenUnreadable(f"{path} is no golden document ({type(error).__name__}: {error})") from error
