"""Whatever is sent: the right 4xx in the right shape, with ids, and nothing of it gets below."""

import orjson
import pytest

CHAT = "/v1/chat/completions"
HELLO = b'{"model":"auto","messages":[{"role":"user","content":"Hello"}]}'
PROMPT = b'{"prompt":"Hello"}'


NOT_JSON = [
    b"",
    b"{",
    b"{'a': 1}",
    b'{"prompt": NaN}',
    b'{"prompt": Infinity}',
    b'{"prompt": 1e999}',
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "\xff"}',
    b'{"prompt": "\xed\xa0\x80"}',
    b'{"prompt": "a\x00b"}',
    b'\xef\xbb\xbf{"prompt": "a"}',
    b"[" * 5000 + b"]" * 5000,
    b'{"prompt":' * 5000 + b"1" + b"}" * 5000,
]
NOT_AN_OBJECT = [b"null", b"[]", b'"text"', b"1", b"true"]


def assert_openai_shape(answer, status, param="any"):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["code"]
    assert param in ("any", error["param"])
    assert_ids(answer)


def assert_plain_shape(answer, status):
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert answer.json()["code"]
    assert_ids(answer)


def assert_ids(answer):
    assert len(answer.headers["x-request-id"]) == 36
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:20]))
async def test_what_is_not_json_is_400(stack, body):
    assert_openai_shape(await stack.client.post(CHAT, content=body), 400)
    assert_openai_shape(await stack.client.post("/v1/embeddings", content=body), 400)
    assert_plain_shape(await stack.client.post("/complete", content=body), 400)
    assert_plain_shape(await stack.client.post("/experiments", content=body), 400)
    assert_plain_shape(await stack.client.post("/production/feedback", content=body), 400)
    assert_plain_shape(await stack.client.post("/feedback", content=body), 400)
    assert stack.router.asks == []


@pytest.mark.parametrize("body", NOT_AN_OBJECT)
async def test_json_that_is_no_object_is_refused(stack, body):
    assert_openai_shape(await stack.client.post(CHAT, content=body), 400)
    for path in ("/complete", "/experiments", "/production/feedback", "/feedback"):
        assert_plain_shape(await stack.client.post(path, content=body), 422)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": ["auto"]}, "model"),
        ({"model": "m" * 201}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [None]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": 1}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"user": 5}, "user"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": -1}, "n"),
        ({"tools": {}}, "tools"),
        ({"user": "a\x00b"}, "user"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, "messages"),
        ({"x": {"a\x00": 1}}, "x"),
        ({"a\x00": 1}, "body"),
    ],
    ids=str,
)
async def test_a_bad_field_is_400_and_named(stack, body, param):
    sent = body if body == {} else {**orjson.loads(HELLO), **body}

    answer = await stack.client.post(CHAT, content=orjson.dumps(sent))

    assert_openai_shape(answer, 400, param)
    assert stack.router.asks == []


async def test_nesting_that_a_parser_takes_but_nobody_needs_is_refused(stack):
    deep = b'{"model":"auto","messages":[],"x":' + b"[" * 900 + b"]" * 900 + b"}"

    assert_openai_shape(await stack.client.post(CHAT, content=deep), 400, "x")


async def test_a_text_that_speaks_of_nul_is_fine(stack):
    said = {**orjson.loads(HELLO), "user": "\\u0000"}  # six characters

    answer = await stack.client.post(CHAT, content=orjson.dumps(said))

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-optimizer-strategy", b""),
        ("x-optimizer-strategy", b"magic"),
        ("x-optimizer-experiment-id", b"one"),
        ("x-optimizer-experiment-id", b"0"),
        ("x-optimizer-experiment-id", b"-1"),
        ("x-optimizer-experiment-id", b"9" * 19),
        ("x-optimizer-experiment-id", b"9" * 5000),
        ("x-optimizer-experiment-id", "\u0661".encode()),
        ("x-optimizer-user-id", b""),
        ("x-optimizer-user-id", b"u" * 101),
        ("x-optimizer-user-id", b"\xff"),
        ("x-optimizer-cache", b"maybe"),
        ("x-optimizer-strategy-parameters", b""),
        ("x-optimizer-strategy-parameters", b"[]"),
        ("x-optimizer-strategy-parameters", b"{"),
        ("x-optimizer-strategy-parameters", b'{"preset": "\\u0000"}'),
        ("x-optimizer-strategy-parameters", b'{"preset": "\xff"}'),
        ("x-optimizer-strategy-parameters", b'{"a":"%b"}' % (b"a" * 2000)),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_a_bad_routing_option_is_400_and_names_its_header(stack, header, value):
    answer = await stack.client.post(CHAT, content=HELLO, headers={header: value})

    assert_openai_shape(answer, 400, header)
    assert stack.router.asks == []


@pytest.mark.parametrize("parameters", [b"economy", b"[]", b'{"a":"%b"}' % (b"a" * 2000)])
async def test_a_prompt_with_bad_parameters_is_422(stack, parameters):
    headers = {"x-optimizer-strategy-parameters": parameters}

    answer = await stack.client.post("/complete", content=PROMPT, headers=headers)

    assert_plain_shape(answer, 422)
    assert "x-optimizer-strategy-parameters" in answer.json()["detail"]
    assert stack.router.asks == []


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": ""},
        {"prompt": "p" * 10_001},
        {"prompt": None},
        {"prompt": 5},
        {"prompt": "a\x00b"},
        {"max_tokens": 0},
        {"max_tokens": 10_001},
        {"max_tokens": "100"},
        {"max_tokens": 10.0},
        {"max_tokens": True},
        {"max_tokens": 10**30},
        {"auto_route": "yes"},
        {"auto_route": 1},
        {"strategy": "magic"},
        {"strategy": ""},
        {"experiment_id": 0, "user_id": "u"},
        {"experiment_id": 2**63, "user_id": "u"},
        {"experiment_id": "1", "user_id": "u"},
        {"user_id": ""},
        {"user_id": "u" * 101},
        {"user_id": ["u"]},
        {"user_id": "\x00"},
    ],
    ids=str,
)
async def test_a_prompt_out_of_bounds_is_422(stack, change):
    # json, not orjson: it writes integers of any length.
    answer = await stack.client.post("/complete", json={"prompt": "Hello", **change})

    assert_plain_shape(answer, 422)
    assert stack.router.asks == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/complete/", 404),
        ("/experiments/", 404),
        ("/experiments/one", 422),
        ("/experiments/0", 422),
        ("/experiments/" + "9" * 5000, 422),
        ("/experiments/101", 404),
        ("/experiments/101/results", 404),
        ("/experiments/1/assign/" + "u" * 257, 422),
        ("/experiments/1/assign/%00", 422),
        ("/experiments?limit=0", 422),
        ("/experiments?offset=-1", 422),
        ("/experiments?status=odd", 422),
        ("/recommendation", 422),
        ("/recommendation?prompt=", 422),
        ("/recommendation?prompt=%00", 422),
        ("/recommendation?prompt=a&strategy=magic", 422),
        ("/routing/decision?prompt=a&auto_route=perhaps", 422),
        ("/admin/feedback/summary?days=0", 422),
        ("/admin/feedback/summary?days=91", 422),
        ("/admin/feedback/summary?days=" + "9" * 5000, 422),
        ("/admin/performance/trends?days=-1", 422),
        ("/admin/performance/trends?days=1.5", 422),
        ("/admin/performance/trends?pattern=%00", 422),
        ("/admin/performance/trends?pattern=" + "p" * 101, 422),
        ("/quality/stats?days=month", 422),
        ("/admin/performance/trends?pattern=%ff", 400),
        ("/%ff%fe", 400),
        ("/recommendation?prompt=%ff", 400),
        ("/recommendation?prompt=a%c3", 400),
        ("/experiments/1/assign/%ff", 400),
        ("/metrics/live", 404),
        ("/requests?limit=0", 422),
        ("/requests?limit=501", 422),
        ("/requests?before=yesterday", 422),
        ("/requests?before=%00", 422),
        ("/requests?model=%00", 422),
        ("/requests?model=", 422),
        ("/requests?strategy=" + "s" * 501, 422),
        ("/requests?outcome=odd", 422),
        ("/requests/unknown", 404),
        ("/requests/%00", 404),
        ("/requests/00000000-0000-7000-8000-000000000000", 404),
        ("/requests/" + "9" * 5000, 422),
        ("/export/focus", 422),
        ("/export/focus?day=today", 422),
        ("/export/focus?day=2026-02-30", 422),
        ("/export/focus?day=9999-12-31", 422),
        ("/metrics/history?window=2h", 422),
        ("/metrics/history?window=", 422),
        ("/metrics/history?by=user", 422),
        ("/metrics/history?step=59", 422),
        ("/metrics/history?step=86401", 422),
        ("/metrics/history?step=1.5", 422),
        ("/metrics/history?window=30d&step=60", 422),
    ],
)
async def test_a_bad_address_is_4xx(stack, path, status):
    assert_plain_shape(await stack.client.get(path), status)


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1", "/v1/models/nobody/knows", "/v1/models/%00"]
)
async def test_an_unknown_route_or_model_under_v1_is_404(stack, path):
    answer = await stack.client.get(path)

    assert_openai_shape(answer, 404)
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_a_wrong_method_is_405(stack):
    openai = await stack.client.get(CHAT)
    plain = await stack.client.delete("/complete")

    assert_openai_shape(openai, 405)
    assert_plain_shape(plain, 405)
    assert openai.headers["allow"] == plain.headers["allow"] == "POST"


@pytest.mark.parametrize("model", ["auto:", "auto:magic"])
async def test_an_unknown_strategy_as_model_is_404(stack, model):
    body = {**orjson.loads(HELLO), "model": model}

    assert_openai_shape(await stack.client.post(CHAT, json=body), 404, "model")


async def test_two_contradicting_strategies_are_refused(stack):
    body = {**orjson.loads(HELLO), "model": "auto:best"}

    answer = await stack.client.post(CHAT, json=body, headers={"x-optimizer-strategy": "cheapest"})

    assert_openai_shape(answer, 400, "x-optimizer-strategy")


@pytest.mark.parametrize("path", [CHAT, "/complete", "/experiments", "/feedback", "/nothing"])
async def test_a_body_of_40_mb_is_413(stack, path):
    answer = await stack.client.post(path, content=b" " * 40_000_000)

    assert answer.status_code == 413
    assert_ids(answer)


async def test_a_body_that_does_not_say_how_long_it_is_is_bounded_too(stack):
    async def endless():
        for _ in range(40):
            yield b" " * 1_000_000

    assert_openai_shape(await stack.client.post(CHAT, content=endless()), 413)
    assert_plain_shape(await stack.client.post("/complete", content=endless()), 413)
    assert_plain_shape(await stack.client.post("/experiments", content=endless()), 413)


async def test_the_connection_lives_on_after_a_refusal(stack):
    await stack.client.post(CHAT, content=b" " * 40_000_000)

    answer = await stack.client.post(CHAT, content=HELLO)

    assert answer.status_code == 200
