"""Leaves out the signals that this process ignores, so that `nohup` still protects it."""

import signal


def unless_ignored(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return the signals that aren't ignored. `nohup` and background jobs of shells start with some ignored."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
