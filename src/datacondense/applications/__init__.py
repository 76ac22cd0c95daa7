"""What sets are used for: a memory in continual learning, and a proxy in architecture search."""
