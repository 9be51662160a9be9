"""A user's session, its chat and its messages. The package does no I/O: all effects go through the runtime."""
