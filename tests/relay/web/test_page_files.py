"""What is served of the page's files."""

from relay.web import page_files
from relay.web.page_files import load

SCRIPT = """\
// What this is for.

/** What it does. */
export function act(a, b = null) {
  /**
   * More.
   */
  const words = a === b ? { "x : y": a } : [b, 1]; // a remark
  if (a && b) return `${a} : ${b}`;
  return words.replace(/ ; /, (one) => one);
}
"""
SERVED = """\
export function act(a,b=null){
const words=a===b?{"x : y":a}:[b,1];
if (a && b) return `${a} : ${b}`;
return words.replace(/ ; /, (one) => one);
}
"""
STYLE = """\
main > p,
a:hover {
  margin: 0 auto;

  font: 1rem/1.5 "Open Sans", serif;
}
@media (min-width: 30rem) and (color) {
}
"""
SERVED_STYLE = """\
main > p,
a:hover{
margin:0 auto;
font: 1rem/1.5 "Open Sans", serif;
}
@media (min-width:30rem) and (color){
}
"""


def test_a_file_is_served_without_what_only_its_authors_read() -> None:
    assert page_files.squeezed(SCRIPT, "js") == SERVED
    assert page_files.squeezed(STYLE, "css") == SERVED_STYLE
    assert page_files.squeezed("  <p>a ; b\n\n", "html") == "<p>a ; b\n"


def test_the_page_and_the_client_are_there() -> None:
    files = load()
    assert {"/", "/page.js", "/style.css", "/client/index.js"} < set(files)
    assert all(b"//" not in line.split(b'"')[0][:2] for file in files.values() for line in file.body.splitlines())
