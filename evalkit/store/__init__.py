"""Paths, digests and atomic writes; nothing else touches the cache or the result tree."""
