"""Regression gates: is this model worse than the one that we agreed on?"""
