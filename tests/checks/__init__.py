"""What evalkit doctor looks at, one subject at a time."""
