"""The actions of `evalkit references`, one file each, described in their docstrings as commands are."""
