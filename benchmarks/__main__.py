"""The command line of the benchmarks: it measures, keeps the results, and writes the pages."""

import argparse
import sys
from typing import Final

from benchmarks import install, page, runs, scale, scalepage, tls, web
from benchmarks.systems import SYSTEMS

OTHERS: Final = ("web", "tls", "scaling")  # things to measure that are no systems


def main() -> int:
    """Run the benchmarks. Exit status 0: the page is written; 1: the load generator can't be built."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    everything = (*SYSTEMS, *OTHERS)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"default: all of {', '.join(everything)}")
    parser.add_argument("--quick", action="store_true", help="less than half of the time for each measurement")
    parser.add_argument("--page", action="store_true", help="only write the pages, from what was measured before")
    options = parser.parse_args()
    names = options.systems or everything
    if unknown := set(names).difference(everything):
        parser.error(f"no system {', '.join(sorted(unknown))}")
    try:
        install.generator()
    except install.NotInstalled as error:
        print(f"benchmarks: the load generator can't be built: {error}", file=sys.stderr)
        return 1
    if not options.page:
        runs.study_all([name for name in names if name in SYSTEMS], _tell, quick=options.quick)
        if "web" in names:
            web.study(_tell, quick=options.quick)
        if "tls" in names:
            tls.study(_tell, quick=options.quick)
        if "scaling" in names:
            scale.study(_tell, quick=options.quick)
    page.write(runs.load_sitting(), web.load(), tls.load())
    scalepage.write(scale.load())
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
