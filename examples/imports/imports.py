"""Import files of sales, rows of ``day,shop,amount`` below a heading: ``zerog worker imports:app --processes 2``."""

import csv
import re
import sqlite3
import uuid
from collections import Counter
from contextlib import closing
from datetime import date
from itertools import count, islice

from marshmallow import Schema, fields

import zerog


class Import(zerog.BaseJob):
    JOB_TYPE = "import"
    FINISH_ON = (UnicodeDecodeError, csv.Error)  # another try would read the same file

    class Params(Schema):
        path = fields.String(required=True)

    class State(Schema):
        done = fields.Integer(load_default=1)  # rows of the file; the first one is its heading
        faults = fields.Integer(load_default=0)  # rows of them that were left out
        months = fields.Dict(fields.String(), fields.Integer(), load_default=dict)  # cents of each

    path: str
    done: int
    faults: int
    months: dict[str, int]

    def run(self):
        with open(self.path, newline="", encoding="utf-8-sig") as file, closing(sqlite3.connect("sales.db")) as sales:
            sales.execute("CREATE TABLE IF NOT EXISTS sales (job, row, day, shop, cents, PRIMARY KEY (job, row))")
            total = sum(1 for _ in csv.reader(file))
            file.seek(0)
            rest = islice(enumerate(csv.reader(file), 1), self.done, None)
            while batch := list(islice(rest, 1000)):
                rows, warnings, months = [], [], Counter(self.months)
                for number, row in batch:
                    try:
                        day, shop, amount = row
                        day = str(date.fromisoformat(day))
                        if not re.fullmatch(r"\d{1,9}\.\d\d", amount):
                            raise ValueError(f"{amount!r} is no amount such as 12.50")
                        rows.append((self.uuid, number, day, shop, int(amount.replace(".", ""))))
                        months[day[:7]] += rows[-1][-1]
                    except ValueError as fault:
                        warnings.append(f"row {number}: {str(fault)[:100]}")
                with sales:  # the same rows under the same keys if the run dies before its checkpoint
                    sales.executemany("REPLACE INTO sales VALUES (?, ?, ?, ?, ?)", rows)
                self.record_warning(warnings, flush=False)  # stored together with the checkpoint, or not at all
                done, faults = batch[-1][0], self.faults + len(warnings)
                self.update_attrs(done=done, faults=faults, months=dict(months), completeness=done / total)
                if self.stopping:
                    return zerog.NO_RESULT
        chart_uuid = str(uuid.uuid5(uuid.UUID(self.uuid), "chart"))  # the same in each run
        self.submit("chart", {"months": self.months}, uuid=chart_uuid)  # once, however often this line is reached
        return {"rows": self.done - 1, "faults": self.faults, "chart": chart_uuid}


app = zerog.App("sqlite:///jobs.db")
app.register(Import)


@app.job
def chart(job: zerog.BaseJob, months: dict[str, int]):
    """Draw a bar for each month, as SVG."""
    unit = 200 / max([1, *months.values()])
    bars = "".join(
        f'<rect x="{x}" y="{220 - cents * unit:.0f}" width="60" height="{cents * unit:.0f}" fill="#2563eb"/>'
        f'<text x="{x}" y="{216 - cents * unit:.0f}">{cents // 100:,}</text><text x="{x}" y="236">{month}</text>'
        for x, (month, cents) in zip(count(0, 70), sorted(months.items()))
    )
    box = f'viewBox="0 0 {70 * len(months) + 1} 240" font-size="12" font-family="sans-serif"'
    return {"svg": f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{bars}</svg>'}
