"""Rows of the table that are no models, and show what the scale is."""
