"""Where our gRPC listens: sockets, ports, TLS; what cannot be is refused with its reason."""

import os
import socket
import subprocess

import pytest
from optimizer.metrics.v1 import metrics_pb2_grpc

from common import errors
from common.grpc_client import call, open_channel
from tests.integration.common.grpc_stack import SNAPSHOT, Stack, settings_with


async def test_a_unix_socket_serves_and_belongs_to_us_alone(short_folder):
    path = short_folder / "a b.sock"
    stack = Stack(settings_with(grpc_listen=f"unix:{path}"))
    await stack.start()
    stack.connect()

    assert b"" == await stack.ask()
    assert 0o600 == path.stat().st_mode & 0o777
    await stack.channel.close()
    await stack.server.stop()


async def test_a_socket_that_a_crash_left_behind_is_replaced(short_folder):
    path = short_folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    stack = Stack(settings_with(grpc_listen=f"unix:{path}"))
    await stack.start()
    stack.connect()

    assert b"" == await stack.ask()
    await stack.channel.close()
    await stack.server.stop()


async def test_a_socket_in_use_is_not_taken_over(short_folder):
    path = short_folder / "live.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(errors.Unavailable, match="another process"):
            await Stack(settings_with(grpc_listen=f"unix:{path}")).start()


async def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")

    with pytest.raises(errors.Invalid, match="no socket"):
        await Stack(settings_with(grpc_listen=f"unix:{path}")).start()

    assert "precious" == path.read_text()


@pytest.mark.parametrize("name", ["x" * 108, "ü" * 54])
async def test_a_path_that_no_socket_can_have_is_refused(name):
    with pytest.raises(errors.Invalid, match="107 bytes"):
        await Stack(settings_with(grpc_listen=f"unix:/{name}")).start()


async def test_a_taken_port_is_refused(stack):
    with pytest.raises(errors.Unavailable, match="taken"):
        await Stack(settings_with(grpc_listen=stack.server.target)).start()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(  # noqa: S603 - nobody else's words
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


async def test_with_a_certificate_the_wire_is_closed_to_plain_text(certificate):
    stack = Stack(
        settings_with(
            grpc_tls_cert_path=certificate / "cert.pem",
            grpc_tls_key_path=certificate / "key.pem",
            grpc_tls_ca_path=certificate / "cert.pem",
        )
    )
    await stack.start()
    stack.connect()

    assert b"" == await stack.ask()

    plain = open_channel(stack.server.target, settings_with())
    with pytest.raises(errors.Unavailable):
        await call(metrics_pb2_grpc.MetricsServiceStub(plain).GetSnapshot, SNAPSHOT, timeout_s=2)
    await plain.close()
    await stack.channel.close()
    await stack.server.stop()


async def test_a_certificate_that_is_not_there_is_named(tmp_path):
    missing = settings_with(grpc_tls_cert_path=tmp_path / "c", grpc_tls_key_path=tmp_path / "k")

    with pytest.raises(errors.Invalid, match=os.fspath(tmp_path / "k")):
        await Stack(missing).start()
