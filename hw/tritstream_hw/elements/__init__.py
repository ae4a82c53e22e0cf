"""The element-wise path, from a row sum to an element of a stage's output vector."""
