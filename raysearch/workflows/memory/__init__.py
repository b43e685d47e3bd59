"""Memory across searches: what earlier runs found, and what of it a new search may use."""
