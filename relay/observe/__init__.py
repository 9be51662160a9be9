"""What a node tells of itself: metrics, probes over HTTP, and the status that it leaves in Redis."""
