"""What is wanted against what is: starts, replaces and ends pools and workers."""
