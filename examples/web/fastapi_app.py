"""ZeroG behind FastAPI: ``uvicorn fastapi_app:app``.

ZeroG's calls wait for the datastore, so these are plain functions, which FastAPI runs in its threads. In an
``async def`` such a call would hold up every other request.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from marshmallow import ValidationError
from starlette.middleware.trustedhost import TrustedHostMiddleware

import zerog

from jobs import HEADERS, HOSTS, LONGEST_BODY, ImportRows, answer_to, public_info, public_progress
from jobs import app as jobs

STATIC = Path(__file__).parent / "static"

app = FastAPI(title="Import", max_body_size=LONGEST_BODY)
app.mount("/static", StaticFiles(directory=STATIC))
app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)


@app.middleware("http")
async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response


@app.get("/")
def page() -> FileResponse:
    return FileResponse(STATIC / "page.html")


@app.post("/jobs", status_code=202)
def submit(params: Annotated[dict[str, Any], Body()], request: Request, response: Response) -> dict[str, str]:
    job = jobs.submit(ImportRows, params)
    response.headers["Location"] = request.app.url_path_for("progress", uuid=job.uuid)
    return {"uuid": job.uuid}


@app.get("/jobs/{uuid}")
def progress(uuid: str) -> dict[str, Any]:
    return public_progress(uuid)


@app.get("/jobs/{uuid}/info")
def info(uuid: str) -> dict[str, Any]:
    return public_info(uuid)


@app.get("/jobs/{uuid}/result")
def result(uuid: str) -> dict[str, Any]:
    return {"result": jobs.get_job(uuid).get_data()}


@app.delete("/jobs/{uuid}", status_code=202)  # no POST: a form on a foreign page can send one, but not this
def cancel(uuid: str) -> dict[str, str]:
    return {"status": jobs.cancel(uuid)}


@app.exception_handler(zerog.ZerogError)
@app.exception_handler(ValidationError)
def refuse(_request: Request, error: Exception) -> JSONResponse:
    status, body = answer_to(error)
    return JSONResponse(body, status)
