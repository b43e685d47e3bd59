"""Reaching a Ray cluster: one on this machine, one at an address, or one that is still to be started."""
