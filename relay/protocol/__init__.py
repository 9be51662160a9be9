"""What clients and nodes say to each other: frames, errors, and the dialects that carry them."""
