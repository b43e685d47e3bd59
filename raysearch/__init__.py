"""Hyper-parameter search for torch models on a Ray cluster: a search is a tree of segments."""

__version__ = "0.1.0"
