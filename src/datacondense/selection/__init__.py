"""Selection: subsets of real images, the baselines of condensation."""
