"""`python -m pairchat`."""

from pairchat.cli import main

main()
