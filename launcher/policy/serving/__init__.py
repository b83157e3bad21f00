"""What the threads of a worker go by: who waits, for how long, and how many threads there are."""
