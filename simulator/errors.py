"""What can go wrong with a simulation itself, as opposed to the programs in it."""


class SimulationError(Exception):
    """The simulation can't go on."""


class Deadlock(SimulationError):
    """Nothing can happen any more: nothing is ready, no timer runs, and nothing is under way in the network."""


class Livelock(SimulationError):
    """Callbacks run without end, and no time passes."""


class RealWorldReached(SimulationError):
    """A program has asked for something of the real world: a clock, a socket, a thread, a process, a descriptor."""
