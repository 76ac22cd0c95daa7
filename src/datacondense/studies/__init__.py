"""Studies: grids of recorded tasks that run anywhere, continue after an interruption, and share common tasks."""
