"""Signatures by the Standard Webhooks specification, and what receivers refuse."""

from __future__ import annotations

import time

import pytest

from zerog.exceptions import ConfigurationError, InvalidSignature
from zerog.webhooks import new_secret, verify
from zerog.webhooks.signing import keys_of, signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'


def headers(secret: str | list[str] = SECRET, ago: float = 0, body: bytes = BODY) -> dict[str, str]:
    return signed(ID, body, keys_of(secret), time.time() - ago)


def test_a_signature_is_that_of_the_specification() -> None:
    """The example that the specification's own libraries are tested with."""
    assert signed(ID, BODY, keys_of(SECRET), 1614265330.9) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_receiver_gets_the_content() -> None:
    assert verify(BODY, headers(), SECRET) == {"test": 2432232314}
    shouted = {name.title(): value for name, value in headers().items()}
    assert verify(BODY, shouted, SECRET.removeprefix("whsec_")) == {"test": 2432232314}


def test_a_secret_is_replaced_without_a_gap() -> None:
    """The sender signs with both, or the receiver takes both."""
    new = new_secret()
    assert verify(BODY, headers([SECRET, new]), SECRET) == verify(BODY, headers([SECRET, new]), new)
    assert verify(BODY, headers(new), [SECRET, new])
    more = headers()
    more["webhook-signature"] = f"v1a,odd v1,AAAA {more['webhook-signature']}"
    assert verify(BODY, more, SECRET)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"webhook-id": "msg_other"}, "no signature"),
        ({"webhook-signature": "v1,AAAA"}, "no signature"),
        ({"webhook-signature": "v1,\u00e9"}, "no signature"),
        ({"webhook-signature": ""}, "has no webhook-signature"),
        ({"webhook-id": ""}, "has no webhook-id"),
        ({"webhook-timestamp": "soon"}, "more than 300 s"),
        ({"webhook-timestamp": "-1"}, "more than 300 s"),
        ({"webhook-timestamp": "9" * 400}, "more than 300 s"),
    ],
)
def test_what_was_changed_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidSignature, match=words):
        verify(BODY, {**headers(), **change}, SECRET)


def test_another_body_or_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="no signature"):
        verify(BODY + b" ", headers(), SECRET)
    with pytest.raises(InvalidSignature, match="no signature"):
        verify(BODY, headers(), new_secret())


@pytest.mark.parametrize("ago", [301, -301])
def test_a_message_can_not_be_sent_again_later(ago: float) -> None:
    with pytest.raises(InvalidSignature, match="more than 300 s"):
        verify(BODY, headers(ago=ago), SECRET)
    assert verify(BODY, headers(ago=ago), SECRET, tolerance=400)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "no base64 !", "whsec_" + "A" * 100, None, b"x" * 40]
)
def test_a_poor_secret_is_refused_and_not_shown(secret: object) -> None:
    with pytest.raises(ConfigurationError, match="not as expected") as caught:
        keys_of([secret])  # type: ignore[list-item]
    assert not secret or str(secret) not in str(caught.value).replace("whsec_ and", "")
    with pytest.raises(ConfigurationError, match="no secret was given"):
        keys_of([])
