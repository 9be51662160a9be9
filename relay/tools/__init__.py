"""The commands beside the node itself: load generator, torture, operator's requests and status."""
