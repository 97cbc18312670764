"""Take orders, each with the job that writes its invoice: ``python shop.py Ada 12.50``, ``zerog worker shop:app``.

Order and job are one transaction. ``ZEROG_URL`` names the database of both, an SQLite file or a PostgreSQL database.
"""

import os
import sys
from decimal import Decimal

from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import zerog

URL = os.environ.get("ZEROG_URL", "sqlite:///shop.db")
app = zerog.App(URL)
engine = create_engine(make_url(URL).difference_update_query(["schema", "timeout"]))  # options of ZeroG alone


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    cents: Mapped[int]
    invoice: Mapped[str | None]


@app.job
def write_invoice(job: zerog.BaseJob, number: int):
    """Write the invoice of an order; a run that is repeated writes the same one."""
    with Session(engine) as session, session.begin():
        order = session.get_one(Order, number)
        order.invoice = f"{order.customer} owes {Decimal(order.cents) / 100:.2f} for order {number}"


def place_order(session, customer, cents):
    """Add an order and its job to the transaction of a session; return both."""
    order = Order(customer=customer, cents=cents)
    session.add(order)
    session.flush()  # it gets its number
    return order, app.submit(write_invoice, {"number": order.number}, connection=session)


if __name__ == "__main__":
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        order, job = place_order(session, sys.argv[1], int(Decimal(sys.argv[2]) * 100))
        print(f"order {order.number}, job {job.uuid}")
