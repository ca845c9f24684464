"""Who sees which variable: the edge no provider secret, the router no client secret."""

from deploy.embedded.environment import OWN_PREFIXES, of_service, read

USER = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "OPENAI_API_KEY": "sk-provider",
    "GATEWAY_ADMIN_KEY": "client-secret",
    "ROUTER_CATALOG_PATH": "mine.yaml",
    "METRICS_LIVE_INTERVAL_S": "2",
    "POSTGRES_ROUTER_PASSWORD": "of the containers",
    "ROUTER_LOG_LEVEL": "",
    "LD_PRELOAD": "evil.so",
    "OTEL_EXPORTER_OTLP_HEADERS": "a collector's secret",
}


def seen_by(service, **stack):
    return of_service(
        service, USER, fixed=stack.get("fixed", {}), defaults=stack.get("defaults", {})
    )


def test_the_gateway_sees_its_own_variables_and_no_provider_key():
    seen = seen_by("gateway")

    assert "client-secret" == seen["GATEWAY_ADMIN_KEY"]
    assert {"OPENAI_API_KEY", "ROUTER_CATALOG_PATH", "POSTGRES_ROUTER_PASSWORD"}.isdisjoint(seen)


def test_the_router_sees_provider_keys_and_no_client_key():
    seen = seen_by("router")

    assert "sk-provider" == seen["OPENAI_API_KEY"]
    assert "mine.yaml" == seen["ROUTER_CATALOG_PATH"]
    assert {"GATEWAY_ADMIN_KEY", "METRICS_LIVE_INTERVAL_S", "POSTGRES_ROUTER_PASSWORD"}.isdisjoint(
        seen
    )


def test_every_service_but_the_sandbox_knows_the_collector():
    knowing = {one for one in OWN_PREFIXES if "OTEL_EXPORTER_OTLP_HEADERS" in seen_by(one)}

    assert set(OWN_PREFIXES) - {"sandbox"} == knowing


def test_every_service_finds_its_programs_and_its_language():
    assert all(
        ("/bin", "C.UTF-8") == (seen_by(one)["PATH"], seen_by(one)["LC_ALL"])
        for one in ("gateway", "router", "experiments", "metrics", "sandbox")
    )


def test_the_user_wins_over_defaults_and_the_stack_over_the_user():
    seen = seen_by(
        "metrics",
        defaults={"METRICS_LIVE_INTERVAL_S": "1", "METRICS_DRAIN_S": "5"},
        fixed={"METRICS_REDIS_URL": "unix:///s"},
    )

    assert "2" == seen["METRICS_LIVE_INTERVAL_S"]
    assert "5" == seen["METRICS_DRAIN_S"]
    assert "unix:///s" == seen["METRICS_REDIS_URL"]
    assert (
        "mine"
        == of_service(
            "metrics",
            {"METRICS_REDIS_URL": "theirs"},
            fixed={"METRICS_REDIS_URL": "mine"},
            defaults={},
        )["METRICS_REDIS_URL"]
    )


def test_an_empty_variable_counts_as_absent():
    assert "debug" == seen_by("router", defaults={"ROUTER_LOG_LEVEL": "debug"})["ROUTER_LOG_LEVEL"]


def test_the_shell_wins_over_the_file(tmp_path, monkeypatch):
    file = tmp_path / ".env"
    file.write_text("GATEWAY_LISTEN=127.0.0.1:1\nROUTER_DRAIN_S=3\n# SANDBOX_SEED=9\n")
    monkeypatch.setenv("GATEWAY_LISTEN", "127.0.0.1:2")

    user = read(file)

    assert ("127.0.0.1:2", "3") == (user["GATEWAY_LISTEN"], user["ROUTER_DRAIN_S"])
    assert "SANDBOX_SEED" not in user
