"""Statistics: pure functions of arrays, float64."""
