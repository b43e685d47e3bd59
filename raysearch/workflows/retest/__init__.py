"""Retests of stored settings: when they are due, how they are run, what they concluded."""
