"""Servers and nodes on this machine that can be started, broken and stopped, for torture, bench and the tests."""
