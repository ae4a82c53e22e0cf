"""From tokens to text: sampling, generation, timings."""
