"""Work beyond one process: units of work, how they are handed out, and where workers run; one file for each way."""
