"""Programs on this machine may ask without a key; web pages may not."""

import pytest

from common.origins import is_foreign_page, is_loopback, is_loopback_host, is_own_page


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"localhost", True),
        (b"LocalHost:8000", True),
        (b"127.0.0.1:1", True),
        (b"[::1]", True),
        (b"[::1]:8000", True),
        (b"", False),
        (b"localhost:", False),
        (b"localhost:80a", False),
        (b"localhost.evil.example", False),
        (b"evil.example:80", False),
        (b"127.0.0.2", False),
        (b"::1", False),
        (b"localhost@evil.example", False),
    ],
)
def test_a_host_is_this_machine_or_not(host, expected):
    assert expected == is_loopback_host(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("llm", False)],
)
def test_an_address_is_reached_from_this_machine_only_or_not(host, expected):
    assert expected == is_loopback(host)


US = b"localhost:8000"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({b"origin": b"http://localhost:8000"}, False),
        ({b"origin": b"http://LocalHost:8000"}, False),
        ({b"origin": b"http://board.example"}, False),
        ({b"origin": b"http://board.example", b"sec-fetch-site": b"cross-site"}, False),
        ({b"origin": b"http://localhost:3000"}, True),
        ({b"origin": b"http://localhost"}, True),
        ({b"origin": b"https://localhost:8000"}, True),
        ({b"origin": b"http://127.0.0.1:8000"}, True),
        ({b"origin": b"null"}, True),
        ({b"origin": b""}, True),
        ({b"origin": b"https://evil.example"}, True),
        ({b"origin": b"http://evil.example@localhost:8000"}, True),
        ({b"origin": b"http://[::1"}, True),
        ({b"origin": "http://löcalhost:8000".encode()}, True),
        ({b"origin": b"http://evil.example", b"sec-fetch-mode": b"navigate"}, True),
        ({b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"no-cors"}, True),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"no-cors"}, True),
        ({b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate"}, False),
        ({b"sec-fetch-site": b"same-origin"}, False),
        ({b"sec-fetch-site": b"none"}, False),
    ],
)
def test_a_page_is_foreign_or_not(headers, expected):
    headers = {b"host": US, **headers}

    assert expected == is_foreign_page(headers, allowed={"http://board.example"})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({b"origin": b"https://llm.example", b"host": b"llm.example"}, True),
        ({b"origin": b"https://board.example", b"host": b"llm.example"}, True),
        ({b"origin": b"https://evil.example", b"host": b"llm.example"}, False),
        ({b"origin": b"ftp://llm.example", b"host": b"llm.example"}, False),
        ({b"origin": b"https://llm.example:8443", b"host": b"llm.example"}, False),
        ({b"origin": b"null", b"host": b"llm.example"}, False),
        ({b"origin": b"", b"host": b""}, False),
        ({b"origin": b"http://", b"host": b""}, False),
    ],
)
def test_behind_a_proxy_a_page_is_our_own_or_allowed(headers, expected):
    assert expected == is_own_page(headers, allowed={"https://board.example"})
