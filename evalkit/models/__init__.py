"""Ways to get clips, one file each."""
