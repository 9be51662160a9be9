"""Runs whole clusters in one thread, in virtual time, so that a seed is the whole history.

It is a tool for developers: the package isn't part of the wheel, and neither `relay` nor `pairchat` may import it.

The layers, from the bottom up:

- `clock`, `trace`, `names`, `poll` and `errors` are small, and know nothing of the others.
- `tcp` is what the kernels of two machines do for one connection, and `sockets` what a program sees of it.
- `loop` is asyncio's own selector loop on virtual time and virtual sockets, one for each simulated process.
- `process` is one simulated process, with its life and death; `service` is a server without a loop, for models.
- `world` is the scheduler: one virtual time, and one step after another, drawn from what is due.
- `network` has the machines, their ports, and the paths between them with their faults.
- `guard` keeps the real world out while a world runs.

One seed is one history if programs don't depend on what no simulator can order: the order of a set of `str`, `bytes` or
enum members (it depends on PYTHONHASHSEED: use a dict), that of a set of other objects whose class isn't named in
`World(in_sets=…)`, `id()`, and `datetime.now()`. Of asyncio only `as_completed` has such an order, and only when it is
handed coroutines instead of tasks.
"""
