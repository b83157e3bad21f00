"""Runs the app for one request and sends what it answers."""
