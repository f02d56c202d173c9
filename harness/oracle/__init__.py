"""What the right answer is, and how far from it a right backend may lie."""
