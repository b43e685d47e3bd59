"""What a team reviews: the HTML report, its sections, the board and the comparison of runs."""
