"""Moves modules and renames identifiers by committed tables, and proves that nothing else has changed.

moves.toml     where each module goes, which definitions are split off, and which texts are edited by hand
tests.toml     where each test goes
table.py       reads the tables
scopes.py      which binding a name in a source file means
rewrite.py     one source file with its new imports, names, strings and comments
pages.py       pages whose lines became too long
moves.py       carries the moves out on the work tree
verify.py      compares the syntax trees of before and after
names.toml     what classes and functions are called
names.py       renames them
members.toml   what members, parameters and words are called
members.py     renames them, with what types.py has mypy tell
verify_names.py  compares the syntax trees of before and after
"""
