"""A table of cases as one test: a test costs milliseconds, thousands of times, and a row of a table only itself."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

Test = Callable[..., None]
# What `pytest.raises` and `pytest.fail` raise is no `Exception`.
FAILURES = (Exception, pytest.fail.Exception)


def each_row(
    names: str | Sequence[str], rows: Iterable[Any], ids: Iterable[str] | Callable[[Any], object] = repr
) -> Callable[[Test], Test]:
    """Call a test with each row of a table, as one test. The arguments are those of `pytest.mark.parametrize`.

    All rows are tried, and the failure names those that failed. Fixtures are set up once for all rows, so no row may
    leave anything in them.
    """
    columns = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    table = [(row,) if len(columns) == 1 else tuple(row) for row in rows]
    labels = ids if callable(ids) else list(ids)
    assert table, "a table without rows tests nothing"
    assert callable(labels) or len(labels) == len(table)

    def as_one(test: Test) -> Test:
        @functools.wraps(test)
        def of_all_rows(*args: Any, **fixtures: Any) -> None:
            failed = []
            for number, row in enumerate(table):
                try:
                    test(*args, **fixtures, **dict(zip(columns, row, strict=True)))
                except FAILURES as error:
                    if str(error).startswith("Timeout"):  # of the whole test: the rows after it would have no limit
                        raise
                    label = "-".join(map(str, map(labels, row))) if callable(labels) else labels[number]
                    error.add_note(f"in the row {label}")
                    failed.append(error)
            if len(failed) == 1:
                raise failed[0]
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(table)} rows failed", failed)

        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        # pytest sets up what is named here.
        of_all_rows.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return of_all_rows

    return as_one
