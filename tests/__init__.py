"""Tests; those under `integration` know the relay from outside only."""

import pytest

# So that a failed check in there shows its values as one in a test does.
pytest.register_assert_rewrite("tests.support")
