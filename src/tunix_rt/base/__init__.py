"""What every slice stands on; it holds no word of the domain."""
