"""How a start happens: which clusters, with what settings, and what comes of it."""
