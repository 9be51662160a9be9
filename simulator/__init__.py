"""The relay's real code on a simulated loop, network and Redis, in virtual time."""
