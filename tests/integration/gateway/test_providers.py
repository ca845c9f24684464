"""Providers over HTTP: why they are off, and whom a router leaves alone."""

from optimizer.router.v1 import router_pb2

from services.gateway.clients import router


async def test_providers_say_why_they_are_off(stack):
    answer = await stack.client.get("/providers")

    off = answer.json()["providers"][1]
    assert (off["name"], off["enabled"], off["why_off"]) == ("dark", False, "DARK_KEY is not set")
    assert (answer.json()["replica"], off["breakers"]) == (None, [])


async def test_whom_a_router_leaves_alone_is_told_until_the_router_is_away(own_stack, monkeypatch):
    monkeypatch.setattr(router, "PROVIDERS_FRESH_S", 0)
    own_stack.router.replica = "3f2a91c0"
    own_stack.router.breakers = (
        router_pb2.Breaker(model="acme/small", state=router_pb2.Breaker.STATE_CLOSED),
        router_pb2.Breaker(
            model="acme/large",
            state=router_pb2.Breaker.STATE_OPEN,
            open_until_ms=1_000,
            reason="overloaded",
        ),
    )

    told = (await own_stack.client.get("/providers")).json()
    await own_stack.router_server.stop()
    away = await own_stack.client.get("/providers")

    assert told["replica"] == "3f2a91c0"
    assert [list(one.values()) for one in told["providers"][0]["breakers"]] == [
        ["acme/small", "closed", None, None],
        ["acme/large", "open", "1970-01-01T00:00:01.000Z", "overloaded"],
    ]
    assert (away.status_code, "detail" in away.json()) == (503, True)
