"""Work around a search: plan it, replay its schedule, retest its settings, remember its trials."""
