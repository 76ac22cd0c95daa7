"""Computations that torch has no fast form of, in C, compiled on the user's machine at first use.

Each has a plain form elsewhere in the library, which is used where there is no compiler.
"""
