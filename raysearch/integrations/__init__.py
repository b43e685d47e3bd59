"""Doors from other frameworks: Lightning, Hugging Face, Optuna, Ray Tune's own Tuner.

Each module imports its framework, and only its own. What a door does not change is the training itself:
the framework trains, saves and restores, and the search decides how far and with which values.
"""
