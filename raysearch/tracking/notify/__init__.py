"""Tells people of a search: `notify:` in its spec, in a process of its own that no search waits for."""
