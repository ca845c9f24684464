"""Settings: read once, frozen, wrong ones refused without showing what was in them."""

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from common.settings import ServiceSettings, split_listen


class RouterSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ROUTER_")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("ROUTER_DATABASE_URL", "postgresql://router:hush@db/optimizer")
    monkeypatch.setenv("ROUTER_INTERNAL_TOKEN", "hush")
    return monkeypatch


def test_a_service_reads_its_own_variables(environment):
    environment.setenv("ROUTER_DATABASE_STATEMENT_TIMEOUT_S", "7.5")
    environment.setenv("METRICS_DRAIN_S", "1")

    settings = RouterSettings()

    assert 7.5 == settings.database_statement_timeout_s
    assert 20 == settings.drain_s
    assert 60 == ServiceSettings.model_fields["database_statement_timeout_s"].default


def test_a_secret_does_not_show():
    assert "hush" not in repr(RouterSettings())


def test_nothing_changes_later():
    with pytest.raises(ValidationError, match="frozen"):
        RouterSettings().log_level = "debug"


def test_migrations_go_past_the_bouncer_where_there_is_one(environment):
    assert "postgresql://router:hush@db/optimizer" == RouterSettings().direct_url

    environment.setenv("ROUTER_DATABASE_DIRECT_URL", "postgresql://direct")

    assert "postgresql://direct" == RouterSettings().direct_url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERNAL_TOKEN", ""),
        ("INTERNAL_TOKEN", "two hush"),
        ("INTERNAL_TOKEN", "hush\n"),
        ("INTERNAL_TOKEN", "hushü"),
        ("DATABASE_POOL_MAX", "0"),
        ("DATABASE_POOL_MIN", "9"),
        ("DATABASE_STATEMENT_TIMEOUT_S", "0"),
        ("DATABASE_STATEMENT_CACHE", "-1"),
        ("DRAIN_S", "-1"),
        ("GRPC_TLS_CERT_PATH", "/hush/cert.pem"),
    ],
)
def test_a_wrong_value_is_refused_and_not_shown(environment, name, value):
    environment.setenv(f"ROUTER_{name}", value)

    with pytest.raises(ValidationError) as caught:
        RouterSettings()

    assert "hush" not in str(caught.value)


def test_no_setting_has_a_name_that_kubernetes_sets():
    assert set() == {"port", "host"} & set(ServiceSettings.model_fields)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_split(listen, expected):
    assert expected == split_listen(listen)


@pytest.mark.parametrize("listen", ["", "9100", ":9100", "a:", "a:b", "a:-1", "a:65536", "a:²"])
def test_what_is_no_address_is_refused(listen):
    with pytest.raises(ValueError, match="port"):
        split_listen(listen)
