"""ZeroG behind Flask: ``flask --app flask_app run``, or ``gunicorn --threads 8 flask_app:app``."""

from flask import Flask, abort, request, url_for
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

import zerog

from jobs import HEADERS, HOSTS, LONGEST_BODY, ImportRows, answer_to, public_info, public_progress
from jobs import app as jobs

app = Flask(__name__)  # which serves static/ by itself
app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY
app.config["TRUSTED_HOSTS"] = HOSTS


@app.after_request
def add_headers(response):
    response.headers.update(HEADERS)
    return response


@app.get("/")
def page():
    return app.send_static_file("page.html")


@app.post("/jobs")
def submit():
    try:
        params = request.get_json()
    except RecursionError:
        abort(400, "The body is nested too deeply.")
    job = jobs.submit(ImportRows, params)
    return {"uuid": job.uuid}, 202, {"Location": url_for("progress", uuid=job.uuid)}


@app.get("/jobs/<uuid>")
def progress(uuid):
    return public_progress(uuid)


@app.get("/jobs/<uuid>/info")
def info(uuid):
    return public_info(uuid)


@app.get("/jobs/<uuid>/result")
def result(uuid):
    return {"result": jobs.get_job(uuid).get_data()}


@app.delete("/jobs/<uuid>")  # no POST: a form on a foreign page can send one, but not this
def cancel(uuid):
    return {"status": jobs.cancel(uuid)}, 202


@app.errorhandler(zerog.ZerogError)
@app.errorhandler(ValidationError)
def refuse(error):
    status, body = answer_to(error)
    return body, status


@app.errorhandler(HTTPException)
def refuse_request(error):
    return {"error": error.description}, error.code
