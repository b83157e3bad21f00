"""How a running cluster is asked: ``protocol`` on both sides, ``client`` on the asking one."""
