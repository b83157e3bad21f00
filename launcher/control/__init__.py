"""How a running cluster is asked: `protocol` and `peer` on both sides, `client` on one."""
