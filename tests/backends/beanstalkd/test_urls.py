"""URLs of beanstalkd, and the tubes of queues."""

from __future__ import annotations

import string

import pytest

import zerog
from tests.hostile import NAMES
from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.backends.beanstalkd.url import LONGEST_TUBE, parse, tube_of
from zerog.exceptions import ConfigurationError

ALLOWED = set(string.ascii_letters + string.digits + "-+/;.$_()")
"""The characters of a tube's name, by beanstalkd's protocol."""


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("beanstalkd://host", ("beanstalkd://host", "host", 11300, "zerog", 5.0)),
        ("beanstalkd://host:1/", ("beanstalkd://host:1/", "host", 1, "zerog", 5.0)),
        ("beanstalkd://[::1]:9?prefix=shop&timeout=0.5", ("beanstalkd://[::1]:9", "::1", 9, "shop", 0.5)),
    ],
)
def test_the_parts_of_a_url(url: str, address: object) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("beanstalkd://", "doesn't name one host"),
        ("beanstalkd://:11300", "doesn't name one host"),
        ("beanstalkd://a:1,b:2", "doesn't name one host"),
        ("beanstalkd://host:0", "no valid port"),
        ("beanstalkd://host:65536", "no valid port"),
        ("beanstalkd://host:port", "no host and port are where they are expected"),
        ("beanstalkd://host/0", "has a path"),
        ("beanstalkd://ann:s3cret@host", "beanstalkd knows neither"),
        ("beanstalkd://:s3cret@host", "beanstalkd knows neither"),
        ("beanstalkd://host?tls=1", "the option 'tls'; expected prefix or timeout"),
        ("beanstalkd://host?prefix=", "the prefix ''"),
        ("beanstalkd://host?prefix=-x", "the prefix '-x'"),
        ("beanstalkd://host?prefix=a/b", "the prefix 'a/b'"),
        ("beanstalkd://host?prefix=%C3%BC", "the prefix 'ü'"),
        ("beanstalkd://host?timeout=0", "the timeout '0'; expected seconds from 0.01 to 3600"),
        ("beanstalkd://host?timeout=1e9", "the timeout '1e9'; expected seconds from 0.01 to 3600"),
        ("beanstalkd://host?timeout=soon", "the timeout 'soon'"),
        ("beanstalkd://host?prefix=a&prefix=b", "an option twice: prefix, prefix"),
        ("beanstalkd://host#1", "contains a #"),
    ],
)
def test_a_wrong_url_is_refused(url: str, problem: str) -> None:
    """Where the app is made, by one line without the password."""
    with pytest.raises(ConfigurationError) as caught:
        zerog.App(datastore="memory://", queue=url)
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_one_url_is_not_enough() -> None:
    with pytest.raises(ConfigurationError, match="beanstalkd://host keeps no documents but is a queue; use App"):
        zerog.App("beanstalkd://host")
    with pytest.raises(ConfigurationError, match="beanstalkd://host/0 has a path"):
        zerog.App("beanstalkd://host/0")


def test_tubes_are_named_alike_and_apart() -> None:
    """Each name has its own tube, which beanstalkd accepts; plain names can be read in it."""
    assert tube_of("shop", "reports") == "shop/reports"
    assert tube_of("shop", "reports~0123456789ab") == "shop/reports$7E0123456789ab"
    names = [*NAMES, "a", "A", "a%", "a$", "a~", "a$7E", "a%7E", "a$24", "a.b", "a/b", "a;b", "a b"]
    tubes = {tube_of("zerog", name) for name in names}
    assert len(tubes) == len(set(names))
    assert not set("".join(tubes)) - ALLOWED


def test_a_name_that_is_too_long_is_refused() -> None:
    """At the submit, before anything is stored."""
    app = zerog.App(datastore="memory://", queue="beanstalkd://host:1")
    app.register(Plain)
    with pytest.raises(ConfigurationError, match=f"expected a name for which {LONGEST_TUBE} are enough"):
        app.submit(Plain, queue="ü" * 50)
    assert list(app.jobs()) == []
    assert len(BeanstalkdQueue("beanstalkd://host:1", "x" * 194).tube) == LONGEST_TUBE


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> None:
        raise NotImplementedError
