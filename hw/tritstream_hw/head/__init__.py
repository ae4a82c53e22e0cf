"""What becomes of the last stage's logits, and of every stage's vector: ranking and digest."""
