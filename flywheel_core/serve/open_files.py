"""How many files and connections this process may have open: the system's first limit is often below the settings'."""

import logging
import resource

log = logging.getLogger("flywheel.serve")

_BESIDE_CONNECTIONS = 1_024
"""Open files that are no clients' connections: raw files, the spool, calls to models of collection."""


def allow_open_files(connections: int) -> None:
    """Raise the soft limit of open files as far as needed and allowed: each client may have a model's connection behind it.

    Beyond it neither a day's file can be opened nor a model be asked, by then for every client alike.
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
