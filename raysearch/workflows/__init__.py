"""What is done with finished searches: retest, replay, plan, memory."""
