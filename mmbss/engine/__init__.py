"""What keeps a run safe and its errors readable; knows nothing of the method."""
