"""Plots of records, one file each: what a reader sees of their numbers, in papers, on pages, and in words.

Each is a `Plot`: a function that draws it with matplotlib at any width, a sentence for those who do not see it, and the
numbers themselves. Those of a sweep are beside its record as well.
"""
