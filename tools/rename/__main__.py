"""Usage: python -m tools.rename COMMAND, which carries out a table on the work tree, or proves that one was.

moves, names, members              carry out moves.toml, names.toml, members.toml; in this order, each committed
verify REVISION                    proves that nothing has changed since but by moves.toml
verify-names TABLE REVISION        the same of names, members, or names+members

With TABLES=second in the environment, the tables in `second/`, which were carried out after those here.
"""

import sys

from tools.rename import members, moves, names, verify, verify_names


def main(arguments: list[str]) -> int:
    """Run one of the two commands and return its exit status."""
    match arguments:
        case ["moves"]:
            return moves.main()
        case ["names"]:
            return names.main()
        case ["members"]:
            return members.main()
        case ["verify-names", ("names" | "members" | "names+members") as tables, revision]:
            return verify_names.main(tables, revision)
        case ["verify", revision]:
            return verify.main(revision)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
