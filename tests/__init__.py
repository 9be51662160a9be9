"""Tests. Those under `integration` use the relay only from outside."""

import pytest

# pytest then shows the values of a failed assertion in these modules too.
pytest.register_assert_rewrite("tests.support")
