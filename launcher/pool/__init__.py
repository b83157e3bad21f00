"""What runs in a pool: loads the app once, forks workers, reaps them. Orders come from outside."""
