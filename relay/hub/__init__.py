"""All sessions of one node: what they share, and the way between them, the bus and the directory."""
