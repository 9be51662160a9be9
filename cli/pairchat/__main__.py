"""This module runs the command as `python -m pairchat`."""

from pairchat.cli import main

main()
