"""Clients' connections: their admission, read-side flow control, authentication, and write buffer."""
