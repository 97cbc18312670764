"""Upload a file, follow its import, and see a chart of it: ``flask --app web:web run``."""

import shutil
import uuid
from pathlib import Path

from flask import Flask, abort, request, send_file

import zerog

from imports import Import, app

web = Flask(__name__, static_folder=None)
web.config.update(MAX_CONTENT_LENGTH=100_000_000, TRUSTED_HOSTS=["localhost", "127.0.0.1"])
web.add_url_rule("/", "page", lambda: send_file("page.html"))
web.register_error_handler(zerog.JobNotFound, lambda error: ({"error": str(error)}, 404))


@web.post("/imports")
def submit():
    if request.mimetype != "text/csv":  # a browser doesn't send this type for another site
        abort(415)
    path = Path("uploads", f"{uuid.uuid4()}.csv").absolute()
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(request.stream, file)
    if path.stat().st_size != (request.content_length or 0):  # the connection was lost
        abort(400)
    return {"uuid": app.submit(Import, {"path": str(path)}).uuid}, 202


@web.get("/jobs/<uuid:number>")
def progress(number):
    return app.progress(str(number))


@web.get("/jobs/<uuid:number>/result")
def result(number):
    job = app.get_job(str(number))
    return {**job.get_data(), "warnings": [warning["msg"] for warning in job.warnings]}
