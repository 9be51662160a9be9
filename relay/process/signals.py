"""Which signals end a process."""

import signal


def unless_ignored(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those that weren't ignored when this process was started, as `nohup` and shells' background jobs are."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
