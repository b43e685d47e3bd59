"""What runs a Search: Ray Tune, this process, or a simulation."""
