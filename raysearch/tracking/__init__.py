"""What a team reviews: the report, the board, and the process that sends a run to W&B and other places."""
