"""Runs: what was asked to be trained, what became of it, and all that it left."""
