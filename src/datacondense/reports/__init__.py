"""Pictures and tables of results, for people to look at."""
