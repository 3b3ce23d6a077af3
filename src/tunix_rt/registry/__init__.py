"""Models that were found good: families, their versions, and the names that people and machines know these by."""
