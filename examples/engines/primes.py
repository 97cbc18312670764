"""One application, whichever server keeps its jobs; ZEROG_URL names it."""

import os

from marshmallow import Schema, fields

import zerog


class CountPrimes(zerog.BaseJob):
    """Counts the primes below a limit, and remembers how far it came."""

    JOB_TYPE = "count_primes"

    class Params(Schema):
        limit = fields.Integer(required=True)

    class State(Schema):
        next = fields.Integer(load_default=2)
        primes = fields.Integer(load_default=0)

    limit: int
    next: int
    primes: int

    def run(self):
        self.set_tick_value(1 / max(1, self.limit - 2))
        for number in range(self.next, self.limit):
            is_prime = all(number % divisor for divisor in range(2, int(number**0.5) + 1))
            self.update_attrs(next=number + 1, primes=self.primes + is_prime, flush=False)
            self.tick()
            if self.stopping:
                return zerog.NO_RESULT
        return {"primes": self.primes}


app = zerog.App(os.environ.get("ZEROG_URL", "sqlite:///primes.db"))
app.register(CountPrimes)
