"""The live page's files: read once, told exactly, and nothing else is ever served."""

import gzip

import pytest

from services.gateway.api.dashboard import page_files

INDEX = b"<!doctype html><title>the page</title>"
SCRIPT = b"console.info('the script');\n" * 40


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_bytes(INDEX)
    (tmp_path / "dist" / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "dist" / "assets" / "font-abc.woff2").write_bytes(b"font")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "dist"


async def answer(file, method="GET", **headers):
    sent = []

    async def send(message):
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    await file({"method": method, "headers": given}, None, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


def named(folder, path):
    return next(file for file in page_files(folder) if file.route_path == path)


def test_only_what_was_built_has_an_address(folder):
    (folder / "notes.txt").write_bytes(b"not ours to show")
    (folder / "assets" / "out").symlink_to(folder.parent / "secret")

    paths = [file.route_path for file in page_files(folder)]

    assert ["/", "/assets/font-abc.woff2", "/assets/index-abc.js"] == paths


async def test_the_page_is_asked_for_anew_each_time(folder):
    status, headers, body = await answer(named(folder, "/"))

    assert (200, INDEX) == (status, body)
    assert b"no-cache" == headers[b"cache-control"]
    assert b"text/html; charset=utf-8" == headers[b"content-type"]


async def test_what_has_its_hash_in_its_name_is_kept_forever(folder):
    _, headers, body = await answer(named(folder, "/assets/index-abc.js"))

    assert SCRIPT == body
    assert b"public, max-age=31536000, immutable" == headers[b"cache-control"]
    assert headers[b"content-type"].startswith(b"text/javascript")


@pytest.mark.parametrize("path", ["/", "/assets/index-abc.js"])
async def test_every_file_comes_with_its_rules(folder, path):
    _, headers, _ = await answer(named(folder, path))

    assert headers[b"content-security-policy"].startswith(b"default-src 'self';")
    assert b"nosniff" == headers[b"x-content-type-options"]
    assert b"no-referrer" == headers[b"referrer-policy"]


async def test_text_is_squeezed_for_those_who_can_read_it(folder):
    _, headers, body = await answer(
        named(folder, "/assets/index-abc.js"), accept_encoding=b"br, GZIP"
    )

    assert SCRIPT == gzip.decompress(body)
    assert b"gzip" == headers[b"content-encoding"]
    assert b"%d" % len(body) == headers[b"content-length"]


async def test_fonts_are_not_squeezed_again(folder):
    _, headers, body = await answer(
        named(folder, "/assets/font-abc.woff2"), accept_encoding=b"gzip"
    )

    assert b"font" == body
    assert b"content-encoding" not in headers


async def test_head_tells_the_same_without_the_body(folder):
    file = named(folder, "/assets/index-abc.js")

    status, headers, body = await answer(file, "HEAD")

    assert (200, b"") == (status, body)
    assert (await answer(file))[1] == headers


async def test_who_has_it_already_is_told_so(folder):
    _, headers, _ = await answer(named(folder, "/"))

    status, _, body = await answer(named(folder, "/"), if_none_match=headers[b"etag"])

    assert (304, b"") == (status, body)


async def test_without_a_build_the_page_says_what_to_run(tmp_path):
    [file] = page_files(tmp_path / "nowhere")

    status, headers, body = await answer(file)

    assert (200, "/") == (status, file.route_path)
    assert b"make dashboard" in body
    assert b"no-cache" == headers[b"cache-control"]
