"""From accept(2) to the worker that a connection is dealt to, and what ends here."""
