"""The page: what was measured stands on it, and a peer that isn't there is told of."""

import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.charts import chart
from benchmarks.measure import Figures, Load
from benchmarks.runs import Findings, Sitting

ONE = Figures(Load(100), 1000, 2048, rate=12_345, p50=1, p90=2, p99=3.25, p999=4, cpu_us=17.5, redis_us=2, commands=0.5)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(page, "DOCS", tmp_path)
    monkeypatch.setattr(page, "PLOTS", tmp_path / "benchmarks")
    ours = Findings(date="2026-01-02", single={"one": ONE, "idle": ONE}, curve=[ONE], growth=[ONE])
    gone = Findings(date="2026-01-02", complaint="not there: npm: no route | to\nhost")
    page.write(Sitting("Some CPU, 2 cores", {"NATS": "2"}, systems={"relay-json": ours, "socketio": gone}))
    return (tmp_path / "benchmarks.md").read_text()


def test_what_was_measured_is_on_it(written: str) -> None:
    assert "Some CPU, 2 cores" in written
    assert "| relay, JSON, acks by nodes | 12,345 | 17.5 µs | 1.00 ms | 3.25 ms | – | – | – |" in written
    assert "2.0 KiB" in written


def test_a_peer_that_is_not_there_is_reported_and_so_is_one_that_was_not_run(written: str) -> None:
    (row,) = [line for line in written.splitlines() if line.startswith("| socket.io") and "2026" in line]
    assert "not there: npm: no route / to host" in row
    (row,) = [line for line in written.splitlines() if line.startswith("| NATS cluster") and "servers" in line]
    assert row.endswith("| not run |")


def test_plots_are_there_and_well_formed(written: str, tmp_path: Path) -> None:
    names = {line.partition("](")[2].rstrip(")") for line in written.splitlines() if line.startswith("![")}
    assert names == {f"benchmarks/{file.name}" for file in (tmp_path / "benchmarks").iterdir()}
    for name in names:
        xml.parse(tmp_path / name)


def test_a_chart_leaves_out_what_a_logarithm_has_no_place_for() -> None:
    svg = chart("A & B", "x", "y", {"<one>": [(1, 0), (10, 5), (100, 50)], "none": []})
    assert svg.count("<circle") == 2
    assert "A &amp; B" in svg
    assert "&lt;one&gt;" in svg


def test_a_chart_of_nothing_is_one_too() -> None:
    xml.fromstring(chart("nothing", "x", "y", {}))
