"""An app to deploy: it counts the words of a text file, with a checkpoint after every few lines.

ZEROG_URL names the place where jobs are kept, for example sqlite:////var/lib/myapp/jobs.db.
"""

import os
import time

from marshmallow import Schema, fields

import zerog


class WordCount(zerog.BaseJob):
    JOB_TYPE = "word_count"

    class Params(Schema):
        path = fields.String(required=True)
        pause = fields.Float(load_default=0.0)  # seconds for each line, to have time to watch

    class State(Schema):
        offset = fields.Integer(load_default=0)
        words = fields.Integer(load_default=0)

    path: str
    pause: float
    offset: int
    words: int

    def run(self):
        size = os.path.getsize(self.path)
        with open(self.path, "rb") as text:
            text.seek(self.offset)
            while line := text.readline():
                time.sleep(self.pause)
                self.update_attrs(offset=text.tell(), words=self.words + len(line.split()), flush=False)
                self.set_completeness(self.offset / size)  # written together with what was waiting
                if self.stopping:
                    return zerog.NO_RESULT  # the next worker goes on from here
        self.job_log_info(f"counted {self.path}")
        return {"words": self.words}


app = zerog.App()
app.register(WordCount)
