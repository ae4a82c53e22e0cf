"""The ternary matrix-vector product: decoders, adder trees, feeder and queues."""
