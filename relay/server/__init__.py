"""Clients' connections: whom a node admits, when it reads them, and what it writes to them."""
