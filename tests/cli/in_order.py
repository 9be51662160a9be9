"""`pairchat` that begins with the first of its servers, so that a test knows where it is connected."""

from unittest.mock import patch

from pairchat.cli import main

if __name__ == "__main__":
    with patch("pairchat.client.begin_at", return_value=0):
        main()
