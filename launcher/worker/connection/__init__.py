"""The sockets of clients: read without being consumed, written without blocking, parked."""
