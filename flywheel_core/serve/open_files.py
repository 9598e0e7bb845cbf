"""Raise the limit of open files, whose default is often too low for the configured number of connections."""

import logging
import resource

log = logging.getLogger("flywheel.serve")

_BESIDE_CONNECTIONS = 1_024
"""Open files besides client connections: raw files, the spool, and collection's connections to models."""


def allow_open_files(connections: int) -> None:
    """Raise the soft limit of open files as far as needed and permitted.

    Each client connection may need a second one, to a model. Beyond the limit, neither a day file nor a
    connection to a model can be opened, for any client.
    """
    needed = 2 * connections + _BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and hard < needed:
        log.warning("open_files_limited", extra={"limit": hard, "needed": needed})
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else min(needed, hard), hard)
    )
