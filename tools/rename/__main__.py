"""`python -m tools.rename moves` carries out the table; `python -m tools.rename verify REVISION` proves that it did."""

import sys

from tools.rename import moves, verify


def main(arguments: list[str]) -> int:
    """Run one of the two commands and return its exit status."""
    match arguments:
        case ["moves"]:
            return moves.main()
        case ["verify", revision]:
            return verify.main(revision)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
