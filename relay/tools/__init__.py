"""The commands beside the node itself: the load generator, torture, operator requests and status."""
