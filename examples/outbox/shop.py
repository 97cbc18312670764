"""Take orders, each with the job that writes its invoice: ``python shop.py Ada 12.50``, ``zerog worker shop:app``.

``python shop.py Ada`` lists the jobs of a customer, the newest first. So does ``zerog jobs ls shop:app --attr
customer=Ada --newest``.

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


class OfCustomer(zerog.BaseJob):
    ATTRIBUTES = ("customer",)  # by which jobs are found, however many there are


@app.job(base=OfCustomer)
def write_invoice(job: zerog.BaseJob, number: int, customer: str):
    """Write the invoice of an order; a run that is repeated writes the same one."""
    with Session(engine) as session, session.begin():
        order = session.get_one(Order, number)
        order.invoice = f"{customer} owes {Decimal(order.cents) / 100:.2f} for order {number}"


def place_order(session, customer, cents):
    """Add an order and its job to the transaction of a session; return both."""
    order = Order(customer=customer, cents=cents)
    session.add(order)
    session.flush()  # it gets its number
    return order, app.submit(write_invoice, {"number": order.number, "customer": customer}, connection=session)


def jobs_of(customer):
    """Return what became of the jobs of a customer, the newest first."""
    return list(app.jobs(attrs={"customer": customer}, order="newest"))


if __name__ == "__main__":
    Base.metadata.create_all(engine)
    if len(sys.argv) == 2:
        for progress in jobs_of(sys.argv[1]):
            print(progress["uuid"], progress["status"])
        sys.exit()
    with Session(engine) as session, session.begin():
        order, job = place_order(session, sys.argv[1], int(Decimal(sys.argv[2]) * 100))
        print(f"order {order.number}, job {job.uuid}")
