"""What the connections have to know of each other: who else may bring a value for the same column of the hub."""

from collections.abc import Sequence
from dataclasses import replace

from crm_sync.core.spec import ConnectionSpec, Direction, FieldSpec, Rival

Found = dict[tuple[str, str], dict[str, Rival]]


def acquainted(connections: Sequence[ConnectionSpec]) -> tuple[ConnectionSpec, ...]:
    """The connections, in the order of their files, with `place` and `rivals` of every field."""
    found: Found = {}
    for place, connection in enumerate(connections):
        for stream in connection.streams:
            for spec in stream.columns:
                if spec.direction is not Direction.OUTBOUND:
                    rival = Rival(place, spec.direction, spec.policy)
                    found.setdefault((stream.entity, spec.name), {})[connection.name] = rival
    return tuple(_told(connection, place, found) for place, connection in enumerate(connections))


def _told(connection: ConnectionSpec, place: int, found: Found) -> ConnectionSpec:
    def told(entity: str, spec: FieldSpec) -> FieldSpec:
        known = {} if spec.computed is not None else found.get((entity, spec.name), {})
        others = {name: rival for name, rival in known.items() if name != connection.name}
        return replace(spec, place=place, rivals=others)

    streams = (
        replace(stream, fields=tuple(told(stream.entity, spec) for spec in stream.fields))
        for stream in connection.streams
    )
    return replace(connection, streams=tuple(streams))
