"""HTTP and WebSocket for browsers: what their bytes mean, without I/O. `relay.server` has the connections."""
