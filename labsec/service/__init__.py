"""Inversion as a service, on this machine alone: upload a captured update, watch the picture emerge, download it.

It shows how little skill the attack takes. Use it on your own data and systems only.
"""

from labsec.service.server import Service, running, start

__all__ = ["Service", "running", "start"]
