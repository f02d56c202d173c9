"""What third parties need to write a backend; the built-in ones load by name through `convspec.adapters.registry`.

It may import `backend` alone: no framework, no reference.
"""

from .backend import (
    METHODS,
    Backend,
    BackendError,
    BackendImportError,
    Contract,
    DeviceUnavailable,
    NotInstalled,
    UnknownBackend,
    Unsupported,
    missing_methods,
)

__all__ = [
    "METHODS",
    "Backend",
    "BackendError",
    "BackendImportError",
    "Contract",
    "DeviceUnavailable",
    "NotInstalled",
    "UnknownBackend",
    "Unsupported",
    "missing_methods",
]
