"""What `raysearch doctor` and each launch look at first: facts of the nodes, and what to make of them."""
