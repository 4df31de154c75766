"""What there is to learn at the teacher's decision boundary."""
