"""Who may ask: with an admin key only its holder; without one, programs on this machine."""

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gateway_fakes import a_stack

KEY = "sk-admin-key"
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
async def locked():
    async with a_stack(admin_key=KEY, allowed_origins="https://board.example") as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"x-api-key": KEY},
        {"authorization": "Basic abc", "x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "origin": "https://elsewhere.example"},
        {"authorization": f"Bearer {KEY}", "host": "llm.example"},
    ],
    ids=str,
)
async def test_the_key_opens(locked, headers):
    answer = await locked.client.post("/v1/chat/completions", json=HELLO, headers=headers)

    assert answer.status_code == 200
    assert locked.router.asks[-1].tenant == "admin"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "Bearer"}, "missing_api_key"),
        ({"authorization": "Bearer wrong"}, "invalid_api_key"),
        ({"authorization": f"Bearer {KEY}x"}, "invalid_api_key"),
        ({"authorization": "Bearer wrong", "x-api-key": KEY}, "invalid_api_key"),
        ({"authorization": "Bearer clé".encode("latin-1")}, "invalid_api_key"),
        ({"x-api-key": "clé".encode()}, "invalid_api_key"),
    ],
    ids=str,
)
async def test_nothing_else_does(locked, headers, code):
    openai = await locked.client.post("/v1/chat/completions", json=HELLO, headers=headers)
    plain = await locked.client.get("/stats", headers=headers)
    unknown = await locked.client.get("/nothing", headers=headers)

    assert (openai.status_code, plain.status_code, unknown.status_code) == (401, 401, 401)
    assert openai.json()["error"]["code"] == plain.json()["code"] == code
    assert openai.headers["www-authenticate"] == "Bearer"
    assert openai.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
async def test_probes_need_no_key(locked, path):
    answer = await locked.client.get(path)

    assert answer.status_code == 200


async def test_the_live_socket_needs_the_key_and_an_own_page(locked):
    url = f"ws://{locked.gateway.address}/metrics/live"
    bearer = {"authorization": f"Bearer {KEY}"}

    with pytest.raises(InvalidStatus) as no_key:
        await connect(url)
    with pytest.raises(InvalidStatus) as foreign:
        await connect(url, additional_headers=bearer, origin="https://evil.example")
    for origin in (None, "https://board.example", f"http://{locked.gateway.address}"):
        async with connect(url, additional_headers=bearer, origin=origin) as socket:
            assert b"timestamp" in (await socket.recv(decode=False))

    assert no_key.value.response.status_code == 401
    assert foreign.value.response.status_code == 403
    assert foreign.value.response.headers["x-request-id"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null"])
async def test_without_keys_web_pages_stay_out_of_the_live_socket(stack, origin):
    url = f"ws://{stack.gateway.address}/metrics/live"

    with pytest.raises(InvalidStatus) as foreign:
        await connect(url, origin=origin)
    async with connect(url, origin=stack.url) as socket:
        await socket.recv()

    assert foreign.value.response.status_code == 403


async def test_without_keys_an_allowed_page_may_ask():
    page = "http://localhost:3000"
    async with a_stack(allowed_origins=page) as stack:
        answer = await stack.client.get("/health", headers={"origin": page})
        other = await stack.client.get("/health", headers={"origin": "http://localhost:3001"})
        async with connect(f"ws://{stack.gateway.address}/metrics/live", origin=page) as socket:
            await socket.recv()

    assert (answer.status_code, other.status_code) == (200, 403)


async def test_a_link_to_the_gateway_may_be_followed(stack):
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}

    answer = await stack.client.get("/health", headers=followed)

    assert answer.status_code == 200
