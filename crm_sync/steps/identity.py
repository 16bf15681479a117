"""Both sides must be who they were: another account behind a connection, or another database behind the hub, holds all
writes until a person says that it is meant.

A refreshed sandbox has another id than the one before; a hub that was restored from a backup does not know what was
written since. In either case everything looks like somebody's edit, and the newer side would be overwritten.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.connectors.identity import Identity
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import holds
from crm_sync.hub import identity as identities
from crm_sync.hub.holds import ALL, Place
from crm_sync.hub.identity import DATABASE, Known
from crm_sync.hub.store import Store
from crm_sync.steps.guard import held_back
from crm_sync.steps.options import Options, Report


@contextmanager
def unchanged(
    store: Store, stream: StreamSpec, options: Options, report: Report, crm: Crm | None = None
) -> Iterator[None]:
    """The block works with the database and, if given, the CRM's account that were there before; what is there the first
    time is noted. A dry run goes on and says it. Raises HeldBackError."""
    check(store, stream.connection, options, report, crm)
    yield


def check(store: Store, connection: str, options: Options, report: Report, crm: Crm | None = None) -> None:
    """See `unchanged`."""
    before = identities.known(store.conn, DATABASE)
    now = Known(identities.of_database(store.conn), "")
    if before != now:
        said = (
            "the hub's database is not the one it was (restored from a backup, moved to another server, or a standby"
            " took over): what was written to the CRMs since may be missing in it"
        )
        _changed(store, Place(ALL, ALL, "database", "both"), DATABASE, before, now, said, options, report)
    else:
        _settled(store, Place(ALL, ALL, "database", "both"), options)
    if crm is None:
        return
    before = identities.known(store.conn, connection)
    place = Place(connection, ALL, "account", "both")
    found = _told(crm, before, report)
    if found is None or not found.account or (before and found.account == before.account):
        if (
            found is not None
            and before
            and found.account
            and found.login != before.login
            and not options.dry_run
        ):
            identities.learn(store.conn, connection, found.account, found.login)  # the same, by another login
        _settled(store, place, options)
        return
    was = before.account if before else ""
    said = (
        f"{connection} reaches account {found.account}, but was synced with {was} (another account, or a sandbox that"
        " was refreshed): its records are not those that the hub is linked with"
    )
    _changed(store, place, connection, before, Known(found.account, found.login), said, options, report)


def _told(crm: Crm, before: Known | None, report: Report) -> Identity | None:
    try:
        return crm.identity(before.login if before else None)
    except CrmError as error:
        if error.error_class is not ErrorClass.PERMISSION:
            raise
        report.notes.append(
            "guard: our user may not see which account this is; another one would not be noticed"
        )
        return None


def _changed(
    store: Store,
    place: Place,
    key: str,
    before: Known | None,
    now: Known,
    said: str,
    options: Options,
    report: Report,
) -> None:
    """Note it if it is the first time, or if a person has said that it is meant; else hold everything back."""
    would = {"was": before.account if before else "", "is": now.account}
    confirmed = [hold.id for hold in holds.confirmed(store.conn, place) if dict(hold.would) == would]
    if options.dry_run:
        if before is not None and not confirmed:
            report.notes.append(f"guard: this would be held back: {said}")
        return
    if before is None or confirmed:

        def learned(conn: Connection) -> None:
            identities.learn(conn, key, now.account, now.login)
            holds.done(conn, confirmed)

        store.committed(learned)
        return
    number = store.committed(lambda conn: holds.open_(conn, place, said, would, store.run_id))
    raise held_back("everything" if place.connection == ALL else place.connection, said, number)


def _settled(store: Store, place: Place, options: Options) -> None:
    """It is as it was (again): nothing is held back for that any more, and nothing is let through by and by."""
    if options.dry_run:
        return
    found = [
        hold
        for hold in holds.find(store.conn, connection=place.connection)
        if Place(hold.connection, hold.entity, hold.cause, hold.side) == place
    ]
    if found:

        def settled(conn: Connection) -> None:
            holds.withdraw(conn, place)
            holds.done(conn, [hold.id for hold in found if hold.status == "confirmed"])

        store.committed(settled)
