"""The actions of `evalkit listen`, one file each, described in their docstrings as commands are."""
