"""What the three web applications share: the job, the app, and which HTTP status an error becomes.

Run a worker beside them, in this folder: ``zerog worker jobs:app --concurrency 4``
"""

import logging
import os
import re
import time

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

import zerog

ROW = re.compile(r"(.+), *(\d{1,9}\.\d\d)")
LONGEST_BODY = 100_000  # bytes of a request
LONGEST_RUN = 3600  # seconds for which one submit may occupy a worker
HOSTS = os.environ.get("WEB_HOSTS", "localhost 127.0.0.1").split()  # names by which browsers reach this application
HEADERS = {  # of every answer
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Referrer-Policy": "no-referrer",  # an address holds a job's uuid
}
STATUS = {zerog.JobNotFound: 404, zerog.InvalidUuid: 404, zerog.JobStateError: 409, zerog.InvalidValue: 422}


class ImportRows(zerog.BaseJob):
    """Imports lines of the form ``name, amount`` one by one; a line of another form is the end of it."""

    JOB_TYPE = "import_rows"

    class Params(Schema):
        rows = fields.String(required=True, validate=validate.Length(1, 10_000))
        pace = fields.Float(load_default=0.5, validate=validate.Range(0, 60))  # seconds a row, to have something to see

        @validates_schema
        def check_cost(self, data, **_):
            seconds = len(data["rows"].splitlines()) * data["pace"]
            if seconds > LONGEST_RUN:
                raise ValidationError(f"This would take {seconds:,.0f} s, longer than {LONGEST_RUN:,} s.", "pace")

    class State(Schema):
        line = fields.Integer(load_default=0)
        cents = fields.Integer(load_default=0)

    rows: str
    pace: float
    line: int
    cents: int

    def run(self):
        lines = self.rows.splitlines()
        for number in range(self.line + 1, len(lines) + 1):
            time.sleep(self.pace)
            row = ROW.fullmatch(lines[number - 1])
            if not row:
                line = lines[number - 1][:80]
                self.raise_error_finish(
                    422, f"line {number} is {line!r}; expected a name, a comma and an amount such as 12.50"
                )
            name, amount = row.groups()
            cents = self.cents + int(amount.replace(".", ""))
            # All of it rides with the event: a worker that goes on after a crash repeats no row and leaves none out.
            self.update_attrs(line=number, cents=cents, completeness=number / len(lines), flush=False)
            self.record_event(f"line {number}: {amount} from {name}")
            if self.stopping:
                return zerog.NO_RESULT
        return {"rows": len(lines), "total": f"{self.cents / 100:.2f}"}


app = zerog.App(os.environ.get("ZEROG_URL", "sqlite:///web.db"))
app.register(ImportRows)


def public_progress(uuid):
    """``app.progress``, of whose last error clients get the time and the message."""
    progress = app.progress(uuid)
    return {**progress, "lastError": progress["lastError"] and brief(progress["lastError"])}


def public_info(uuid):
    """``app.info`` with the times and messages of its entries, without those that operators made.

    Tracebacks are not for clients, nor is who edited or retried a job, why, and which parameters it had before.
    """
    info = app.info(uuid)
    shown = {
        kind: [brief(entry) for entry in info[kind] if "who" not in entry] for kind in ("events", "warnings", "errors")
    }
    return {**info, **shown, "lastError": info["lastError"] and brief(info["lastError"])}


def brief(entry):
    return {"timestamp": entry["timestamp"], "msg": entry["msg"]}


def answer_to(error):
    """The HTTP status and the JSON body for what ZeroG raises. Other faults are logged and not returned."""
    if isinstance(error, ValidationError):
        return 422, {"error": "Some values are wrong.", "fields": error.messages}
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            return status, {"error": str(error)}
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    if isinstance(error, (zerog.DatastoreError, zerog.QueueError)):
        return 503, {"error": "The jobs can't be reached at the moment."}
    return 500, {"error": "Something is wrong on this side."}
