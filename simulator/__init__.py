"""Runs whole clusters in one thread, in virtual time, so that a seed is the whole history.

It is a tool for developers: the package isn't part of the wheel, and neither `relay` nor `pairchat` may import it.
"""
