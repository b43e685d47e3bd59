"""The Ray Tune executor: a driver that starts workers as Tune trials, and their coordinator actor."""
