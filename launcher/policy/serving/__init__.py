"""What the threads of a worker go by: which requests wait, for how long, how many threads serve."""
