"""What the black-box tests stand on: real servers, real nodes, and clients that speak the wire and nothing else."""
