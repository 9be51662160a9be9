"""Which pages may talk to a node, and by which names it may be called."""

import pytest

from relay.web.origins import OriginRules, is_loopback, parse


class TestOrigins:
    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("http://x", "http://x:80", True),
            ("https://x:443", "HTTPS://X", True),
            ("http://[::1]:8080", "http://[::1]:8080", True),
            ("http://[::1]", "http://[0:0:0::1]:80", True),
            ("http://x:", "http://x", True),
            ("http://x", "https://x", False),
            ("http://x", "http://x:81", False),
            ("http://x", "http://x.y", False),
            ("app://x", "app://x", True),
        ],
    )
    def test_two_spellings_are_equal_if_they_mean_one_origin(self, one: str, other: str, same: bool) -> None:
        assert parse(one) is not None
        assert (parse(one) == parse(other)) is same

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "*",
            "x",
            "x:80",
            "http:/x",
            "http://",
            "http://x/",
            "http://a@x",
            "http://x:y",
            "http://x:123456",
            "http://[::1",
            "http://[1.2.3.4]",
            "http://[:::1]",
        ],
    )
    def test_a_text_that_is_no_origin_is_not_read_as_one(self, text: str) -> None:
        assert parse(text) is None

    @pytest.mark.parametrize("text", ["http://x", "https://x:8443", "http://[::1]:99"])
    def test_an_origin_is_written_as_it_was_read(self, text: str) -> None:
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:7f00:1", True),
        ("::ffff:10.0.0.1", False),
        ("notlocalhost", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.nip.io", False),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
    ],
)
def test_which_names_mean_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


class TestTheHost:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9999", "127.0.0.1:9999", "[::1]:9999", None])
    def test_a_node_on_loopback_has_loopback_names(self, host: str | None) -> None:
        assert not OriginRules((), loopback=True).refuses_host(host)

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:9999", "localhost@evil.example", "", "[::2]"])
    def test_a_node_on_loopback_has_no_other_names(self, host: str) -> None:
        assert OriginRules((), loopback=True).refuses_host(host)
        assert not OriginRules((), loopback=False).refuses_host(host)
        assert not OriginRules(["*"], loopback=True).refuses_host(host)

    def test_a_node_on_loopback_has_the_names_of_allowed_origins_too(self) -> None:
        rules = OriginRules(["https://chat.example"], loopback=True)
        assert not rules.refuses_host("chat.example")
        assert not rules.refuses_host("chat.example:9999")
        assert rules.refuses_host("evil.example")


def refuses(
    said: list[str], *allowed: str, host: str | None = "x:1", scheme: str = "http", siblings: tuple[int, ...] = ()
) -> bool:
    return OriginRules(allowed, loopback=False, siblings=siblings).refuses_origin(said, host, scheme)


class TestTheOrigin:
    def test_a_program_has_no_origin_and_may_talk(self) -> None:
        assert not refuses([])

    def test_the_node_s_own_page_may_talk_to_it(self) -> None:
        assert not refuses(["http://x:1"])
        assert not refuses(["http://X:1"])
        assert not refuses(["https://x"], host="x", scheme="https")
        assert not refuses(["http://x"], host="x:80")

    @pytest.mark.parametrize(
        "origin",
        [
            "http://x",
            "http://x:2",
            "https://x:1",
            "http://y:1",
            "null",
            "",
            "x:1",
            "http://x:1/",
            "http://x:1, http://y",
        ],
    )
    def test_a_page_of_another_origin_may_not_talk(self, origin: str) -> None:
        assert refuses([origin])

    def test_a_page_of_an_allowed_origin_may_talk(self) -> None:
        assert not refuses(["https://chat.example"], "https://chat.example")
        assert not refuses(["https://chat.example:443"], "https://other.example", "https://Chat.example")
        assert refuses(["http://chat.example"], "https://chat.example")
        assert not refuses(["null"], "null")
        assert not refuses(["anything at all"], "*")

    def test_two_origins_are_none(self) -> None:
        assert refuses(["http://x:1", "http://x:1"])

    def test_without_a_host_nothing_is_its_own(self) -> None:
        assert refuses(["http://x:1"], host=None)

    def test_pages_of_nodes_that_were_started_together_may(self) -> None:
        assert not refuses(["http://x:2"], siblings=(2, 3))
        assert refuses(["http://y:2"], siblings=(2, 3))
        assert refuses(["https://x:2"], siblings=(2, 3))
        assert refuses(["http://x:4"], siblings=(2, 3))
