"""Scoring on clusters: Ray (extra `ray`)."""
