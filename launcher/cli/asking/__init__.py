"""Running clusters: which are meant, what they say, and how long to wait for it."""
