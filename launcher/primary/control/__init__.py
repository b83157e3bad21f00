"""Answers the control socket, and keeps the folder there by which commands find it."""
