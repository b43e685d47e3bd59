"""A folder for the import path of Python processes that a trainable starts; it holds nothing to import."""
