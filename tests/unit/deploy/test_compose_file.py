"""The containers as declared: what waits for what, who is published, who knows which secret."""

import re

import pytest
import yaml

from scripts import env_example
from services.router.settings import SHIPPED_CATALOG

TEXT = env_example.COMPOSE.read_text()
FILE = yaml.safe_load(TEXT)
SERVICES = FILE["services"]
OURS = ("gateway", "router", "experiments", "metrics", "sandbox")
PROVIDERS = set(env_example.provider_variables(SHIPPED_CATALOG.read_text()))


def test_the_whole_product_is_there():
    assert {*OURS, "postgres", "redis", "prometheus"} == set(SERVICES)


def test_only_the_gateway_and_prometheus_are_published():
    assert {"gateway", "prometheus"} == {name for name, one in SERVICES.items() if "ports" in one}


def test_everything_waits_for_healthy_neighbours():
    conditions = {
        wait["condition"]
        for one in SERVICES.values()
        for wait in one.get("depends_on", {}).values()
    }

    assert {"service_healthy"} == conditions


def test_redis_keeps_its_log_and_is_asked_every_5_s():
    redis = SERVICES["redis"]

    assert ["redis-server", "--appendonly", "yes"] == redis["command"]
    assert (["CMD", "redis-cli", "ping"], "5s") == (
        redis["healthcheck"]["test"],
        redis["healthcheck"]["interval"],
    )


@pytest.mark.parametrize(
    ("service", "volume"), [("postgres", "postgres"), ("redis", "redis"), ("router", "journal")]
)
def test_what_must_last_lies_on_a_named_volume(service, volume):
    assert volume in FILE["volumes"]
    assert any(str(mount).startswith(f"{volume}:") for mount in SERVICES[service]["volumes"])


def test_every_secret_comes_from_the_user_and_none_has_a_default():
    used = set(re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN|ADMIN_KEY)\b)", TEXT))

    assert 7 == len(used)
    for secret in used:
        assert f"${{{secret}:?" in TEXT, f"{secret} may be missing"
        assert f"${{{secret}:-" not in TEXT


@pytest.mark.parametrize("service", OURS)
def test_a_service_knows_its_own_secrets_only(service):
    environment = SERVICES[service]["environment"]
    others = {f"POSTGRES_{other.upper()}_PASSWORD" for other in OURS if other != service}

    assert not any(secret in str(value) for value in environment.values() for secret in others)
    assert ("router" == service) == bool(PROVIDERS & set(environment))
    assert ("gateway" == service) == ("GATEWAY_ADMIN_KEY" in environment)


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_with_no_rights_it_does_not_need(service):
    one = SERVICES[service]

    assert (True, ["ALL"]) == (one["read_only"], one["cap_drop"])
    assert "container_name" not in one


def test_nobody_without_business_there_reaches_the_databases():
    reachable_by = {name for name, one in SERVICES.items() if "data" in one.get("networks", [])}

    assert {"gateway", "router", "experiments", "metrics", "postgres", "redis"} == reachable_by
