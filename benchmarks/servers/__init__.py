"""What the peers run: started by ``benchmarks.peers``, each in its own process."""
