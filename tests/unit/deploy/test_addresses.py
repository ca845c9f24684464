"""Addresses are checked before anything starts, and a refusal names the variable to change."""

import socket

import pytest

from deploy.embedded.addresses import claim, url
from deploy.embedded.refusal import Refusal


def test_port_0_becomes_a_free_port_and_no_two_get_the_same():
    claimed = claim({"A": "127.0.0.1:0", "B": "127.0.0.1:0", "C": "127.0.0.1:0"})

    assert {"A", "B", "C"} == set(claimed)
    assert 3 == len(set(claimed.values()))
    assert "127.0.0.1:0" not in claimed.values()


def test_a_taken_port_is_refused_with_the_variable_to_change():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(Refusal, match=rf"{taken} is taken.*set GATEWAY_LISTEN"):
            claim({"GATEWAY_LISTEN": taken})


def test_one_address_for_two_is_refused():
    free = claim({"A": "127.0.0.1:0"})["A"]

    with pytest.raises(Refusal, match=r"SANDBOX_LISTEN: .* is taken \(GATEWAY_LISTEN has it too\)"):
        claim({"GATEWAY_LISTEN": free, "SANDBOX_LISTEN": free})


@pytest.mark.parametrize(
    "listen", ["8000", "127.0.0.1", "127.0.0.1:http", ":8000", "127.0.0.1:70000"]
)
def test_what_is_no_address_is_refused(listen):
    with pytest.raises(Refusal, match="GATEWAY_LISTEN must be host:port"):
        claim({"GATEWAY_LISTEN": listen})


def test_an_address_that_is_not_ours_is_refused():
    with pytest.raises(Refusal, match="GATEWAY_LISTEN: cannot listen on 192"):
        claim({"GATEWAY_LISTEN": "192.0.2.1:8000"})


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("[::]:8000", "http://[::1]:8000"),
        ("localhost:8000", "http://localhost:8000"),
    ],
)
def test_a_url_reaches_what_listens(listen, expected):
    assert expected == url(listen)
