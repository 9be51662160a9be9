"""The dashboard, the alerts and their page name metrics that a node has, and explain them."""

import asyncio
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import promql_parser
import yaml
from prometheus_client import parser

from relay.metrics import Counts
from relay.observe.prometheus_page import PrometheusPage, Reading
from relay.observe.session_stats import Tally
from tests.support.rows import each_row

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
PAGE = ROOT / "docs" / "operations.md"
COMPOSE = ROOT / "docker-compose.yml"

# Labels that Prometheus adds to those of a node.
ADDED = {"job", "instance"}
# Grafana replaces these.
VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}


@cache
def names() -> dict[str, list[dict[str, str]]]:
    """Return the labels of every sample of a node, by its name."""

    async def read() -> Reading:
        return Reading(
            node="n1",
            counts=Counts(),
            tally=Tally(),
            ready=True,
            redis=True,
            hearing=True,
            waiting=0,
            lease=True,
            lease_age=0.0,
            memory=0,
            publishing=True,
            links=0,
            silent=0,
            unwatched=False,
            writable=True,
        )

    text = asyncio.run(PrometheusPage(read).page("")).body
    found: dict[str, list[dict[str, str]]] = {"up": [{}]}
    for family in parser.text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


class Selector(NamedTuple):
    """A metric in a query: its name, and for each label the pattern that it must match, or not match."""

    name: str
    wanted: tuple[tuple[str, str, bool], ...]

    def fits(self, labels: dict[str, str]) -> bool:
        return all(
            label in ADDED or (re.fullmatch(pattern, labels.get(label, "")) is not None) is good
            for label, pattern, good in self.wanted
        )


def selectors(query: str) -> Iterator[Selector]:
    """Return the selectors of a valid query."""
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    yield from _walk(promql_parser.parse(query))


def _walk(node: Any) -> Iterator[Selector]:
    if isinstance(node, promql_parser.VectorSelector):
        wanted = []
        for matcher in node.matchers.matchers:
            exact = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
            good = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re)
            wanted.append((matcher.name, re.escape(matcher.value) if exact else matcher.value, good))
        assert node.name is not None
        yield Selector(node.name, tuple(wanted))
    elif isinstance(node, promql_parser.MatrixSelector):
        yield from _walk(node.vector_selector)
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from _walk(node.lhs)
        yield from _walk(node.rhs)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _walk(argument)
    elif isinstance(node, promql_parser.AggregateExpr | promql_parser.ParenExpr | promql_parser.SubqueryExpr):
        yield from _walk(node.expr)
    else:
        assert isinstance(node, promql_parser.NumberLiteral), f"a test that overlooks {type(node)} proves nothing"


@cache
def rules() -> dict[str, dict[str, Any]]:
    """Return the alerts by their names."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@cache
def dashboard() -> Any:
    return json.loads((GRAFANA / "dashboards" / "relay.json").read_text())


@cache
def queries() -> dict[str, str]:
    """Return every query by its place."""
    found = {f"alert {name}": rule["expr"] for name, rule in rules().items()}
    for panel in dashboard()["panels"]:
        found |= {f"panel {panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


@each_row("where", queries())
def test_a_query_asks_for_what_a_node_shows(where: str) -> None:
    shown = names()
    asked = list(selectors(queries()[where]))
    assert asked
    for selector in asked:
        assert selector.name in shown
        assert any(map(selector.fits, shown[selector.name])), f"{selector} fits no sample"


@each_row(
    ("query", "good"),
    [
        ("rate(relay_claims_total[5m])", True),
        ("rate(relay_claims[5m])", False),
        ('relay_claims_total{outcome="granted"}', True),
        ('relay_claims_total{outcome=~"gr.*|x"}', True),
        ('relay_claims_total{outcome="given"}', False),
        ('relay_claims_total{result="granted"}', False),
        ('sum(relay_ready) > 1 or relay_claims_total{outcome="given"}', False),
    ],
)
def test_the_check_sees_what_is_wrong(query: str, good: bool) -> None:
    shown = names()
    found = [any(map(one.fits, shown.get(one.name, []))) for one in selectors(query)]
    assert all(found) is good


def test_every_metric_of_a_node_is_on_the_dashboard() -> None:
    asked = {
        one.name for panel in dashboard()["panels"] for target in panel["targets"] for one in selectors(target["expr"])
    }
    bare = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    ours = {re.sub("_(bucket|count|sum)$", "", name) for name in names() if name.startswith("relay_")}
    assert ours - bare == {"relay_node_info"}, "that one names the nodes in the dashboard's list"


def test_every_alert_and_every_metric_is_explained() -> None:
    page = PAGE.read_text()
    assert [name for name in rules() if f"### {name}\n" not in page] == []
    explained = set(re.findall(r"`(relay_\w+)`", page))
    ours = {re.sub("_(bucket|count|sum)$", "", name) for name in names() if name.startswith("relay_")}
    assert explained == ours, "no more and no less"
    assert re.findall(r"^### (Relay\w+)$", page, re.MULTILINE) == list(rules()), "in the same order"


def test_every_alert_says_how_bad_and_what() -> None:
    for rule in rules().values():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]


def test_panels_have_their_own_places() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_compose_has_no_password_that_others_know_and_logs_that_end() -> None:
    text = COMPOSE.read_text()
    assert "change-me" not in text + (ROOT / "deploy" / "redis-acl.conf").read_text()
    services = yaml.safe_load(text)["services"]
    for name, service in services.items():
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), name
    variables = services["node"]["environment"]
    assert urlsplit(variables["RELAY_REDIS_URL"]).password is None
    assert variables["RELAY_LOG_FORMAT"] == "json"
    folder = str(Path(variables["RELAY_REDIS_PASSWORD_FILE"]).parent)
    assert f"secret:{folder}:ro" in services["node"]["volumes"]
    assert "secret:/data" in services["redis"]["volumes"], "where it makes the password"


def test_compose_runs_the_dashboard_only_where_it_is_asked_for_and_with_files_that_are_there() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["observe"]} == {
        "prometheus",
        "grafana",
    }
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert all((PROMETHEUS / file).exists() for file in settings["rule_files"])
    (scraped,) = settings["scrape_configs"]
    assert scraped["job_name"] == "relay", "alerts ask for it by this name"
    assert scraped["dns_sd_configs"][0]["names"] == ["node"]
    assert set(scraped["dns_sd_configs"][0]["names"]) <= set(services)
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in dashboard()["panels"]}
    assert used == {source["uid"] for source in sources}
