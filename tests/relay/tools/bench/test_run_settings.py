"""`relay bench`: wrong options are one line and status 2; the partners of a pair are on different servers."""

import pytest

from relay.cli import run
from relay.tools.bench.run_settings import RunSettings, Target, share_out

A, B, C = ("a", 1), ("b", 2), ("c", 3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--pairs", "0"], "--pairs must be between 1 and 30000, not 0"),
        (["--in-flight", "257"], "--in-flight must be between 1 and 256, not 257"),
        (["--rate", "nan"], "--rate must be between 1 and 10000000, not nan"),
        (["--seconds", "0.5"], "--seconds must be between 1 and 86400, not 0.5"),
        (["--processes", "0"], "--processes must be between 1 and 64, not 0"),
        (["--in-flight", "2", "--rate", "5"], "--in-flight and --rate exclude each other"),
        (["--dialect", "classic"], "--dialect must be json or text, not 'classic'"),
        (["--dialect", "text", "--acks"], "--acks needs --dialect json"),
        (["--dialect", "text", "--ws"], "--ws needs --dialect json"),
        (["--tls", "--ca", "ca.pem"], "--ca needs --tls and --server"),
        (["--server", "nowhere"], "--server must be host:port, or [IPv6]:port, not 'nowhere'"),
        (["--server", "a:1", "--server", "b:0"], "--server must have a port from 1 to 65535, not 'b:0'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"relay: {complaint}")
    assert err.count("\n") == 1


def test_every_pair_has_one_worker_and_its_share_of_the_rate() -> None:
    jobs = share_out(RunSettings(pairs=10, processes=4, rate=1000), Target((A,)), "t")
    assert sorted(pair for job in jobs for pair in job.pairs) == list(range(10))
    assert sum(job.rate or 0 for job in jobs) == pytest.approx(1000)
    assert [job.rate for job in jobs] == [300, 300, 200, 200]


def test_there_are_no_workers_without_pairs() -> None:
    assert len(share_out(RunSettings(pairs=2, processes=4), Target((A,)), "t")) == 2


def test_partners_are_on_different_servers_and_all_servers_get_their_share() -> None:
    (job,) = share_out(RunSettings(pairs=6, processes=1), Target((A, B, C)), "t")
    places = [job.places(pair) for pair in job.pairs]
    assert all(here != there for here, there in places)
    assert [sum(server in place for place in places) for server in (A, B, C)] == [4, 4, 4]


def test_with_one_server_both_partners_are_there() -> None:
    (job,) = share_out(RunSettings(pairs=1, processes=1), Target((A,)), "t")
    assert job.places(0) == (A, A)
