"""Computations that torch has no fast form of: in C, compiled at first use, and for GPUs in Triton.

Each has a plain form elsewhere in the library, which is used where there is no compiler.
"""
