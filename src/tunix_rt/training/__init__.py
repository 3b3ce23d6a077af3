"""The maths of training: no database, no HTTP. It reads and writes a run directory, so it can run on any machine."""
