"""This package supports the black-box tests with real servers, real nodes, and clients that know only the protocol."""
