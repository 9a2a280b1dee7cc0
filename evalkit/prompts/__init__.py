"""Prompt sets, and the recordings that their captions describe."""
