"""Errors by which the user's database refuses what we write into the hub: constraints, types, triggers, rights.

Whoever writes hub rows catches these, narrows them down to the record, and parks it while the others go on. What passes by
itself (a deadlock, a lost connection, a lock that took too long) is none of them: that transaction is begun again.
"""

import psycopg
from psycopg import errors

REFUSED: tuple[type[psycopg.Error], ...] = (
    psycopg.IntegrityError,
    psycopg.DataError,
    errors.RaiseException,
    errors.AssertFailure,
    errors.TriggeredActionException,
    errors.TriggeredDataChangeViolation,
    errors.WithCheckOptionViolation,
    errors.InsufficientPrivilege,
)
