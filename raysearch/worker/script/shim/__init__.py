"""What a script's process finds before anything else: a quiet `wandb`, and the line to its worker."""
