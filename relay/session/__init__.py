"""One user's session, its chat and its messages, without I/O: all effects go through the runtime."""
