"""Making reference packs, and checking them against audio."""
