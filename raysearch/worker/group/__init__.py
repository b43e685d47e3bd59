"""A worker of several processes that train one trial together, as under torchrun.

The worker (`host.py`) speaks with each of its processes, the ranks (`rank.py`), over a connection of its own.
They meet there after every iteration: the worker asks once what to do next, and all ranks get that answer.
Their process group is made once and stays from segment to segment (`process_group.py`).
"""
