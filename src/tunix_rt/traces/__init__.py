"""Reasoning traces: immutable, content-addressed, deduplicated."""
