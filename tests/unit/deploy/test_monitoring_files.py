"""Rules, alerts and dashboards speak of metrics that exist, and of pages that say what to do."""

import importlib
import json
import re

import pytest
import yaml
from prometheus_client import REGISTRY

from scripts import env_example

ROOT = env_example.COMPOSE.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
SERVICES = ("gateway", "router", "experiments", "metrics")
SAMPLES = {"counter": r"_total$", "histogram": r"_(bucket|sum|count)$", "gauge": r"$"}
PAGE = ROOT / "docs" / "howto" / "monitor.md"
ADDED = {"job", "instance", "service", "le"}  # by the scrape, by histograms
LOADED = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["rule_files"]
GROUPS = [
    group for name in LOADED for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = dict.fromkeys(rule["record"] for rule in RULES if "record" in rule)  # in order
BOARDS = {p.stem: json.loads(p.read_text()) for p in sorted(GRAFANA.glob("dashboards/*.json"))}
TESTED = "".join(path.read_text() for path in PROMETHEUS.glob("tests/*.yml"))


@pytest.fixture(scope="module")
def exposed():
    """What the services expose, by name, with its labels."""
    for service in SERVICES:
        importlib.import_module(f"services.{service}.__main__")
    names = {"up": set()}
    for collector, families in list(REGISTRY._collector_to_names.items()):
        labels = set(getattr(collector, "_labelnames", ()))
        samples = SAMPLES.get(getattr(collector, "_type", "gauge"), "$")
        names |= {name: labels for name in families if re.search(samples, name)}
    return names


def queries():
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def names_in(query):
    bare = re.sub(r'"[^"]*"', '""', query)
    return set(re.findall(r"\b(?:optimizer|process|up)(?:[_:][a-z0-9_:]+)?\b", bare))


def labels_in(query):
    bare = re.sub(r'"[^"]*"', '""', query)
    grouped = re.findall(r"\b(?:by|on|without) \(([^)]*)\)", bare)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"\"", bare)
    return {label.strip() for group in grouped for label in group.split(",")} | set(matched)


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_every_query_asks_for_metrics_and_labels_that_there_are(exposed, where, query):
    names = names_in(query)
    known = {label for name in names for label in exposed.get(name, ())} | ADDED
    if names & RECORDS.keys():  # they have the labels of what they are made of
        known |= {"route", "model", "provider"}

    assert names or re.fullmatch(r"vector\([\d.]+\)", query), "it asks for nothing"
    assert set() == names - set(exposed) - RECORDS.keys()
    assert set() == labels_in(query) - known


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_who_what_and_where_to_read_on(name):
    alert = ALERTS[name]
    page, _, anchor = alert["annotations"]["page"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)

    assert {"warning": 1, "critical": 1}[alert["labels"]["severity"]]
    assert alert["annotations"]["summary"]
    assert not anchor or anchor in {h.lower().replace(" ", "-") for h in headings}
    assert f"`{name}`" in PAGE.read_text()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_test(name):
    assert f'"{name}"' in TESTED or f"alertname: {name}\n" in TESTED or f"{name}|" in TESTED


@pytest.mark.parametrize("name", RECORDS)
def test_every_rule_is_of_use(name):
    asked = [query for _, query in queries()]

    assert any(name in names_in(query) for query in asked) or name in TESTED


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_can_be_provisioned(name):
    board = BOARDS[name]
    panels = board["panels"]
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())

    assert f"optimizer-{name}" == board["uid"]
    assert 39 <= board["schemaVersion"]
    assert len(panels) == len({panel["id"] for panel in panels})
    assert {source["datasources"][0]["uid"]} == {
        one["datasource"]["uid"] for panel in panels for one in (panel, *panel["targets"])
    }
    assert {"timeseries", "stat"} >= {panel["type"] for panel in panels}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_stand_beside_each_other(name):
    taken = [
        (x, y)
        for at in (panel["gridPos"] for panel in BOARDS[name]["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(taken) == len(set(taken))
    assert 24 > max(x for x, _ in taken)


def test_the_page_lists_every_metric_and_no_other(exposed):
    listed = set(re.findall(r"^\| `(optimizer_\w+)", PAGE.read_text(), re.MULTILINE))
    ours = {name for name in exposed if name.startswith("optimizer_") and "_test_" not in name}

    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} == listed
