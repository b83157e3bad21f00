"""The threads of a worker: which of them serves, how many there are, what waits for one."""
