"""What follows when one side deletes a record that the other still has, as a connection file gives it.

Pure values. What is to happen with a record is decided in `life.py`.
"""

from dataclasses import dataclass
from enum import StrEnum

PRESENCE = "*"
"""The pseudo field that stands for whether a record is there at all."""


class DeletePolicy(StrEnum):
    """What follows from a deletion."""

    PROPAGATE = "propagate"  # the record is deleted on the other side too
    ARCHIVE = "archive"  # the hub keeps it, marked; inbound only
    IGNORE = "ignore"  # nothing: the sides stay apart
    REVIEW = "review"  # a person decides


@dataclass(frozen=True, slots=True)
class Deletes:
    """The policies of a stream. inbound: of deletions made in the CRM; outbound: of those made in the hub. The same
    policy decides about a record that comes back."""

    inbound: DeletePolicy = DeletePolicy.ARCHIVE
    outbound: DeletePolicy = DeletePolicy.REVIEW
