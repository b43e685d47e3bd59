"""A small search for each door, on data that comes with scikit-learn; `raysearch examples` lists them."""
