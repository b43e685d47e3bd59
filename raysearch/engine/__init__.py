"""The Search: which worker holds which segment, what is durable, what is tried again. No Ray, no clock."""
