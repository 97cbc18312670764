"""One request as a handler gets it, and the declaration of a handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from marshmallow import Schema
from starlette.requests import Request

from zerog.app import App
from zerog.exceptions import JobNotFound
from zerog.records.job import Document, check_shown, make_key
from zerog.web.access import Access
from zerog.web.fields import Body
from zerog.web.problems import Problem

if TYPE_CHECKING:
    from zerog.web.bulk import Bulks
    from zerog.web.streams import Streams


@dataclass(frozen=True)
class Site:
    """What all requests share."""

    app: App
    access: Access
    target: str
    """What commands call the app."""
    streams: Streams
    bulks: Bulks
    is_read_only: bool = False


@dataclass
class Call:
    """A request whose values are checked. Handlers run in a thread, since ZeroG's calls wait for the datastore."""

    site: Site
    request: Request
    action: str
    query: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def app(self) -> App:
        """The app."""
        return self.site.app

    @property
    def who(self) -> str:
        """The author of the request, for events."""
        return self.site.access.who(self.request)

    def path(self, name: str) -> str:
        """Return a part of the request's path."""
        return str(self.request.path_params[name])

    def link(self, path: str) -> str:
        """Return the address of a path of this API, for this client."""
        return str(self.request.scope.get("root_path", "")) + path

    def permit(self, job: dict[str, Any] | None = None) -> None:
        """Check that the client may do this, to ``job`` if that is given. Raises Problem, JobNotFound."""
        self.site.access.check_job(self.request, self.action, job)

    def read(self, head: bool = True) -> tuple[Document, int]:
        """Return the job that the path names, as it is stored, and its token, if the client may do this to it.

        Raises JobNotFound, InvalidUuid, CorruptDocument, Problem.
        """
        uuid = self.path("uuid")
        key = make_key(uuid)
        document, token = self.app.datastore.read_with_cas(key, head)
        if document is None:
            raise JobNotFound(f"there is no job {uuid}")
        check_shown(key, document)
        if self.site.access.is_authenticated:
            self.permit(self.app.registry.shown(document))
        return document, token

    def head(self) -> Document:
        """Return what ``read`` returns, without the history and the token."""
        return self.read()[0]


@dataclass(frozen=True)
class Endpoint:
    """A handler with all that is published about it."""

    method: str
    path: str
    action: str
    handler: Callable[[Call], Any]
    """Returns an Answer; of a stream a coroutine of a Response."""
    summary: str
    answers: Mapping[int, tuple[str, type[Schema] | None]]
    """By status: its meaning, and the schema of the content (None: no content)."""
    problems: tuple[int, ...] = ()
    query: Schema | None = None
    body: Body | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of the request that matter, and what for."""
    group: str = "Jobs"
    is_stream: bool = False

    @property
    def is_about_a_job(self) -> bool:
        """True if the path names a job."""
        return "{uuid}" in self.path


def check_first(site: Site, request: Request, endpoint: Endpoint) -> None:
    """Refuse what can be refused before anything is read. Raises Problem."""
    if endpoint.action != "probe":
        site.access.check(request, endpoint.action)
    if site.is_read_only and endpoint.method != "GET":
        raise Problem(403, "ReadOnly", "This server only shows jobs.")
