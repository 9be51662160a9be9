"""`python -m pairchat`."""

from pairchat.app import main

main()
