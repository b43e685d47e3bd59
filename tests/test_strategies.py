"""Runs the contract suite on every registered strategy."""

from strategy_suite import *  # noqa: F403
