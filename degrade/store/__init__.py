"""What lies on disk. Moves bytes and rows; never loads torch."""
