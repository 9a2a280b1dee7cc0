"""Listening tests: pages for raters, made from records, and the server that takes their answers."""
