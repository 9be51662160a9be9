"""`make docs` moves pages without breaking their links, and reports broken ones."""

from pathlib import Path

import pytest

from tools import docsite


def found(text: str) -> list[str]:
    return [target[0] for target in docsite.targets(text)]


def test_links_in_code_are_none() -> None:
    assert found("[a](b.md) `[c](d.md)` ``[`e`](f.md)``\n```\n[g](h.md)\n```\n![i](j.svg)\n") == ["b.md", "j.svg"]


def test_code_is_blanked_out_in_its_place() -> None:
    assert docsite.without_code("a `b`\n```\nc\n```\nd\n") == "a    \n   \n \n   \nd\n"


@pytest.mark.parametrize(
    ("page", "target", "moved"),
    [
        ("docs/a.md", "b.md#c", "b.md#c"),
        ("docs/decisions/a.md", "../guarantees.md", "../guarantees.md"),
        ("docs/a.md", "../CHANGELOG.md", "changelog.md"),
        ("CONTRIBUTING.md", "docs/protocol.md#names", "protocol.md#names"),
        ("CONTRIBUTING.md", "README.md", "index.md"),
        ("docs/security.md", "../deploy/redis-acl.conf", "files/deploy/redis-acl.conf"),
        ("docs/a.md", "https://example.com/x.md", "https://example.com/x.md"),
        ("docs/a.md", "#here", "#here"),
    ],
)
# private: one step of a build that takes long
def test_a_link_is_moved_with_its_page(
    page: str, target: str, moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docsite, "PAGES", tmp_path)
    assert docsite._moved(docsite.ROOT / page, target) == moved
    assert moved.startswith("files/") == any(tmp_path.rglob("redis-acl.conf"))


# private: likewise
def test_lists_are_seen_as_lists() -> None:
    text = "To do:\n- one\n  more\n  - two\n- three\n\n```\nx:\n- y\n```\n"
    assert docsite._with_lists_apart(text) == "To do:\n\n- one\n  more\n    - two\n- three\n\n```\nx:\n- y\n```\n"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html#there">x</a> <a href="https://example.com/">y</a> <code>- z</code>', ""),
        ('<a href="gone.html">x</a>', "index.html leads to gone.html, which isn't there"),
        ('<a href="other.html#gone">x</a>', "index.html leads to other.html#gone, which isn't there"),
        ('<a href="#gone">x</a>', "index.html leads to #gone, which isn't there"),
        ('<img src="gone.svg">', "index.html leads to gone.svg, which isn't there"),
        ('<script src="https://example.com/x.js"></script>', "index.html loads https://example.com/x.js"),
        ('<link rel="stylesheet" href="//example.com/x.css">', "index.html loads //example.com/x.css"),
        ("<p>to do:\n- one</p>", "index.html shows the Markdown of '- one'"),
        ("<p>[x](y.md)</p>", "index.html shows the Markdown of ']('"),
    ],
)
def test_faults_of_a_site_are_reported(body: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(body)
    (tmp_path / "other.html").write_text('<h2 id="there">There</h2>')
    assert docsite.faults(tmp_path) == ([fault] if fault else [])


@pytest.mark.parametrize("rule", ["a{background:url(https://example.com/x.png)}", '@import "x.css";'])
def test_style_sheets_load_nothing(rule: str, tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text(rule)
    assert docsite.faults(tmp_path) == ["x.css loads something from another host"]
