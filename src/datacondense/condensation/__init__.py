"""Condensation: the loop (once), the methods (one file each), the run's folder."""
