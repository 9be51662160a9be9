"""Messages between nodes over Redis pub/sub, which arrive once and in order whatever pub/sub loses."""
