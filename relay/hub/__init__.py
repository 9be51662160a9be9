"""The hub of a node: it runs all sessions of the node and connects them with the bus and the directory."""
