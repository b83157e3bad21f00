"""gunicorn's configuration for tests of clients that stop in the middle of a body."""

from launcher.policy.serving.patience import Patience
from launcher.worker.serving.service import Service

Service.patience = Patience(silence=1.5)
