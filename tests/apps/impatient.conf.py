"""gunicorn's configuration for tests of what happens when a client takes too long."""

from launcher.policy.serving.patience import Patience
from launcher.worker.serving.service import Service

Service.patience = Patience(head=1.0, body=1.0, slowest=1e6, linger=1.0)
