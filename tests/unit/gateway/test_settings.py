"""The gateway's settings, and where it refuses to start."""

import pytest
from pydantic import ValidationError

from common.errors import Invalid
from common.settings import from_environment
from services.gateway.settings import GatewaySettings

NEEDED = {"database_url": "postgresql://x", "internal_token": "t"}


@pytest.mark.parametrize("listen", ["127.0.0.1:8000", "[::1]:8000", "localhost:0", "127.8.0.1:1"])
def test_on_loopback_no_key_is_needed(listen):
    assert GatewaySettings(**NEEDED, listen=listen).admin_key is None


@pytest.mark.parametrize("listen", ["0.0.0.0:8000", "[::]:8000", "10.0.0.1:80", "llm.example:80"])
@pytest.mark.parametrize("key", [None, ""])
def test_elsewhere_a_key_is_needed(listen, key):
    with pytest.raises(ValidationError, match="set GATEWAY_ADMIN_KEY"):
        GatewaySettings(**NEEDED, listen=listen, admin_key=key)


def test_with_a_key_it_may_listen_anywhere():
    assert GatewaySettings(**NEEDED, listen="0.0.0.0:8000", admin_key="k").listen_address == (
        "0.0.0.0",
        8000,
    )


@pytest.mark.parametrize("key", ["clé", "two words", "line\n"])
def test_a_key_that_no_header_can_carry_is_refused(key):
    with pytest.raises(ValidationError, match="ASCII") as refused:
        GatewaySettings(**NEEDED, admin_key=key)

    assert key not in str(refused.value)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", frozenset()),
        (" https://a.example , ,https://b.example", {"https://a.example", "https://b.example"}),
        ("HTTPS://A.example/", {"https://a.example"}),
    ],
)
def test_origins_are_listed_with_commas(listed, expected):
    assert expected == GatewaySettings(**NEEDED, allowed_origins=listed).allowed_origin_set


def test_a_refused_start_says_why_and_nothing_secret(monkeypatch):
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"GATEWAY_{name.upper()}", value)
    monkeypatch.setenv("GATEWAY_LISTEN", "0.0.0.0:8000")

    with pytest.raises(Invalid) as refused:
        from_environment(GatewaySettings)

    assert refused.value.message == (
        "GATEWAY_LISTEN=0.0.0.0:8000 can be reached from elsewhere:"
        " set GATEWAY_ADMIN_KEY, or listen on 127.0.0.1"
    )
