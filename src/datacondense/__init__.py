"""Condense labelled image data sets by gradient matching."""
