"""What people read: one table, and its forms."""
