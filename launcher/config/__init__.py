"""VALUES: what a cluster is to be, from every source, as frozen values."""
