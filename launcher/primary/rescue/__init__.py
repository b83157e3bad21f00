"""From the death of a worker to a new place for each of its connections."""
