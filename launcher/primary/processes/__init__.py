"""Pools and workers, seen from the primary: started, heard, collected. Decides nothing."""
