"""Figures about raysearch itself: `raysearch bench`."""
