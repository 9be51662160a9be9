"""The page of the benchmarks: it has all results, and says which peer could not be measured."""

import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.charts import chart
from benchmarks.measure import Figures, Load
from benchmarks.runs import Findings, Sitting
from benchmarks.tls import Figures as TlsFigures
from benchmarks.tls import Secured, Turns
from benchmarks.web import Web

ONE = Figures(Load(100), 1000, 2048, rate=12_345, p50=1, p90=2, p99=3.25, p999=4, cpu_us=17.5, redis_us=2, commands=0.5)


SLOW = TlsFigures(rate=500, p99=3, cpu_us=30, limited_by="the load generator was the limit: use more")
SECURED = Secured(
    "2026-01-03",
    "0.5 to 0.6",
    turns=[Turns(Load(100), [TlsFigures(rate, 1, 20, "") for rate in (900, 1000, 4000)], [SLOW, SLOW, SLOW])],
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(page, "DOCS", tmp_path)
    monkeypatch.setattr(page, "PLOTS", tmp_path / "benchmarks")
    return tmp_path


@pytest.fixture
def written(folder: Path) -> str:
    ours = Findings(date="2026-01-02", single={"one": ONE, "idle": ONE}, curve=[ONE], growth=[ONE])
    gone = Findings(date="2026-01-02", complaint="not there: npm: no route | to\nhost")
    page.write(
        Sitting("Some CPU, 2 cores", {"NATS": "2"}, systems={"relay-json": ours, "socketio": gone}), Web(), SECURED
    )
    return (folder / "benchmarks.md").read_text()


def test_the_page_shows_the_machine_and_all_that_was_measured(written: str) -> None:
    assert "Some CPU, 2 cores" in written
    assert "| relay, JSON, acks by nodes | 12,345 | 17.5 µs | 1.00 ms | 3.25 ms | – | – | – |" in written
    assert "2.0 KiB" in written


def test_a_peer_that_is_not_there_is_reported_and_so_is_one_that_was_not_run(written: str) -> None:
    (row,) = [line for line in written.splitlines() if line.startswith("| socket.io") and "2026" in line]
    assert "not there: npm: no route / to host" in row
    (row,) = [line for line in written.splitlines() if line.startswith("| NATS cluster") and "servers" in line]
    assert row.endswith("| not run |")


def test_tls_stands_beside_the_same_without_it_and_a_run_with_another_limit_is_marked(written: str) -> None:
    assert "| 1 in flight, plain | 1,000 | 1.00 ms | 20.0 µs | no other limit than the cluster |" in written
    assert "| 1 in flight, TLS | 500 | 3.00 ms | 30.0 µs | the load generator was the limit |" in written
    assert "| 1 in flight, TLS / plain | 0.50 | 3.00 | 1.50 | |" in written


@pytest.mark.parametrize(
    ("secured", "said"), [(Secured(), "not run"), (Secured(complaint="there is no openssl"), "there is no openssl")]
)
def test_tls_that_was_not_measured_is_reported(folder: Path, secured: Secured, said: str) -> None:
    page.write(Sitting(), Web(), secured)
    assert f"Not measured: {said}." in (folder / "benchmarks.md").read_text()


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
