"""Recorded units of work: what a task is, where results are kept, and how tasks run, here or on a cluster."""
