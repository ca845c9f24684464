"""The live page, served: open to all where keys are wanted, and only what was built."""

import asyncio
import http.client

import pytest

from services.gateway import app
from services.gateway.api.dashboard import page_files
from tests.gateway_fakes import a_stack


@pytest.fixture(scope="module")
async def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>the page</title>")
    (folder / "assets" / "index-abc.js").write_text("the script")
    (folder.parent / "secret").write_text("secret")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "page_files", lambda: page_files(folder))
        async with a_stack(admin_key="sk-admin-key") as running:
            yield running


@pytest.mark.parametrize(
    ("path", "expected"), [("/", "<title>the page</title>"), ("/assets/index-abc.js", "the script")]
)
async def test_the_page_needs_no_key(locked, path, expected):
    answer = await locked.client.get(path)

    assert (200, expected) == (answer.status_code, answer.text)


async def test_what_it_asks_for_does(locked):
    answer = await locked.client.get("/stats")

    assert 401 == answer.status_code


async def test_there_is_one_policy_the_page_s_own(locked):
    page = await locked.client.get("/")
    other = await locked.client.get("/health")

    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert ["no-cache"] == page.headers.get_list("cache-control")
    assert page.headers["x-request-id"]
    assert other.headers["content-security-policy"].startswith("default-src 'none'")
    assert "no-store" == other.headers["cache-control"]


async def test_head_is_answered(locked):
    answer = await locked.client.head("/", headers={"accept-encoding": "identity"})

    assert (200, b"", "23") == (
        answer.status_code,
        answer.content,
        answer.headers["content-length"],
    )


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../secret",
        "/assets/..%2f..%2fsecret",
        "/assets/%2e%2e/%2e%2e/secret",
        "/../secret",
        "/assets//index-abc.js",
        "/assets/",
        "/assets",
        "/index.html",
        "/assets/nothing.js",
        "//assets/index-abc.js",
    ],
)
async def test_no_address_leads_elsewhere(locked, path):
    status, body = await asyncio.to_thread(as_written, locked.address, path)

    assert 404 == status
    assert b"secret" not in body


def as_written(address, path):
    """Ask without tidying the path up, as browsers and libraries do."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", path, headers={"authorization": "Bearer sk-admin-key"})
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told


async def test_it_is_not_written_to(locked):
    answer = await locked.client.post("/", headers={"authorization": "Bearer sk-admin-key"})

    assert 405 == answer.status_code
