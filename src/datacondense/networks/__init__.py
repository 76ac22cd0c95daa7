"""Networks: short names to structures whose parameters and buffers are arguments."""
