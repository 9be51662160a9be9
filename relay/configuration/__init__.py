"""The settings of a node: what options, variables and a file may say, and the checks of it."""
