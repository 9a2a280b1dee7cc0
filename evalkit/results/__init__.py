"""The record of a run, and what is read from it."""

REPORT = "report.html"  # what `evalkit report` leaves in the folder of a record, which is complete without it
