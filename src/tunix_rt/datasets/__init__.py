"""Data sets: immutable selections of traces, by digest, with their splits."""
