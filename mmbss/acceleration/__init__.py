"""What makes a step fast without changing what it computes."""
