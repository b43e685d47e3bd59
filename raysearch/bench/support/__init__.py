"""Helpers of the commands of `raysearch bench`: rivals, clients, machines to kill, landscapes to search."""
