"""What the three web applications share: the job, the app, and which HTTP status an error becomes.

Run a worker beside them, in this folder: ``zerog worker jobs:app --concurrency 4``
"""

import logging
import os
import re
import time

from marshmallow import Schema, ValidationError, fields, validate

import zerog

ROW = re.compile(r"(.+), *(\d{1,9}\.\d\d)")
LONGEST_BODY = 100_000  # bytes of a request
STATUS = {zerog.JobNotFound: 404, zerog.InvalidUuid: 404, zerog.JobStateError: 409, zerog.InvalidValue: 422}


class ImportRows(zerog.BaseJob):
    """Imports lines of the form ``name, amount`` one by one; a line of another form is the end of it."""

    JOB_TYPE = "import_rows"

    class Params(Schema):
        rows = fields.String(required=True, validate=validate.Length(1, 10_000))
        pace = fields.Float(load_default=0.5, validate=validate.Range(0, 60))  # seconds a row, to have something to see

    class State(Schema):
        line = fields.Integer(load_default=0)
        cents = fields.Integer(load_default=0)

    def run(self):
        lines = self.rows.splitlines()
        for number in range(self.line + 1, len(lines) + 1):
            time.sleep(self.pace)
            row = ROW.fullmatch(lines[number - 1])
            if not row:
                self.raise_error_finish(
                    422, f"line {number} is {lines[number - 1]!r}; expected a name, a comma and an amount such as 12.50"
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


def public_info(uuid):
    """``app.info`` without the tracebacks, which are not for clients."""
    info = app.info(uuid)
    for error in info["errors"]:
        error.pop("traceback", None)
    return info


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
