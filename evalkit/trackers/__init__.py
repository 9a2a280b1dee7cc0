"""Experiment trackers, one file each, that a record is sent to."""
