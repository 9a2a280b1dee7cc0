"""Tests of reference packs."""
