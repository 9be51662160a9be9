"""What a start costs: nothing is imported that the run at hand doesn't use."""

import subprocess
import sys

import pytest

PIPE = "import pairchat.app; pairchat.app.main()"  # without a name it ends with its usage
SCREEN = "import pairchat.screen"


@pytest.mark.parametrize(
    ("code", "unused"), [(PIPE, ("pydantic", "prompt_toolkit", "rich")), (SCREEN, ("typer", "rich"))]
)
def test_nothing_slow_is_imported_in_vain(code: str, unused: tuple[str, ...]) -> None:
    report = f"import atexit, sys; atexit.register(lambda: print([n for n in {unused} if n in sys.modules])); {code}"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout == "[]\n", done.stderr
