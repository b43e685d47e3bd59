"""A run's folder in use: opening it, its session, lock, orders, pause, fingerprint, and who is alive."""
