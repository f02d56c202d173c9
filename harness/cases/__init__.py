"""What is asked of a backend: a case names shapes, attributes, a data recipe and a seed, never array elements."""
