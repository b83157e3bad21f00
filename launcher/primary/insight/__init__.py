"""What there is to see of a cluster: its state, its rates, what it is running."""
