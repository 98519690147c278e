"""What a run is, and how its values are checked."""
