"""Statistics, scalars and quantisation of the vectors that enter a GEMV."""
