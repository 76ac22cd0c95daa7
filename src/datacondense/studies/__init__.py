"""Studies: grids of recorded runs that run anywhere, continue after a stop, and share what they have in common."""
