"""Starts, breaks and stops servers and nodes on this machine, for torture, bench and the tests."""
