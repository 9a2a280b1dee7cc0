"""Prompts to clips."""
