"""Which steps found each fault of `mutants.py`, and by which invariant.

The steps are short: of a story made short, or of a likely pattern tried with one number after the other. How many steps of
the usual stories it takes, `make mutants` says.
"""

from dataclasses import dataclass

from tests.machine.oracle import Invariant
from tests.machine.story import Step


@dataclass(frozen=True, slots=True)
class Caught:
    """The invariant that did not hold; how many steps were played until then; those that suffice."""

    invariant: Invariant
    steps: int
    short: tuple[Step, ...]


CAUGHT = {
    "single_base": Caught(Invariant.QUIESCENCE, 25, (("crm_create", 460174), ("crm_edit", 261925))),
    "dispute_dropped": Caught(
        Invariant.LIFE_CYCLE,
        125,
        (("kill", 591601), ("hub_insert", 60009), ("hub_delete", 852484), ("crm_edit", 560533)),
    ),
    "settled_unseen": Caught(Invariant.CONFLICT_COMPLETENESS, 75, (("crm_create", 234285),)),
    "base_before_answer": Caught(
        Invariant.NO_BLIND_OVERWRITE,
        25,
        (("hub_insert", 106764), ("sync", 212640), ("crm_edit", 24813), ("sync", 302841)),
    ),
    "intent_forgotten": Caught(
        Invariant.QUIESCENCE, 4, (("hub_insert", 331), ("lost", 970), ("lost", 154), ("lost", 404))
    ),
    "joined_by_position": Caught(
        Invariant.NO_LOST_UPDATE,
        4,
        (("hub_insert", 331), ("hub_insert", 970), ("hub_insert", 154), ("sync", 404)),
    ),
    "base_moves_on_failure": Caught(
        Invariant.NO_LOST_UPDATE, 8, (("hub_insert", 109), ("sync", 630), ("refused", 719), ("sync", 773))
    ),
    "intent_late": Caught(
        Invariant.NO_LOST_UPDATE, 8, (("hub_insert", 109), ("lost", 630), ("lost", 719), ("lost", 773))
    ),
    "intent_without_payload": Caught(
        Invariant.NO_LOST_UPDATE, 8, (("hub_insert", 109), ("lost", 630), ("lost", 719), ("lost", 773))
    ),
    "answer_believed": Caught(
        Invariant.CONFLICT_COMPLETENESS,
        18,
        (
            ("hub_insert", 168),
            ("sync", 428),
            ("trouble", 706),
            ("trouble", 428),
            ("trouble", 650),
            ("trouble", 288),
        ),
    ),
    "mirror_goes_back": Caught(
        Invariant.ATOMIC_PROGRESS,
        32,
        (
            ("crm_create", 115),
            ("sync", 760),
            ("crm_edit", 133),
            ("sync", 558),
            ("replay", 611),
            ("crm_edit", 729),
            ("sync", 182),
            ("replay", 231),
        ),
    ),
    "own_values_return": Caught(
        Invariant.NO_BLIND_OVERWRITE,
        4,
        (("hub_insert", 331), ("sync", 970), ("dispute", 154), ("dispute", 404)),
    ),
    "retry_forgotten": Caught(Invariant.CONFLICT_COMPLETENESS, 1, (("hub_insert", 331),)),
    "parked_forgotten": Caught(Invariant.CONFLICT_COMPLETENESS, 1, (("hub_insert", 331),)),
    "dry_run_writes": Caught(Invariant.DRY_RUN, 3, (("hub_insert", 331), ("crm_create", 970), ("dry", 154))),
    "deletion_forgotten": Caught(
        Invariant.LIFE_CYCLE, 8, (("crm_create", 109), ("sync", 630), ("crm_delete", 719), ("sync", 773))
    ),
    "doubt_ignored": Caught(
        Invariant.NO_LOST_UPDATE,
        10,
        (("hub_insert", 109), ("lost", 630), ("lost", 719), ("lost", 773), ("lost", 667)),
    ),
    "listing_believed": Caught(
        Invariant.NO_LOST_UPDATE,
        65,
        (
            ("crm_create", 998),
            ("sync", 961),
            ("same_second", 972),
            ("same_second", 767),
            ("same_second", 366),
        ),
    ),
    "no_compare_and_set": Caught(
        Invariant.NO_LOST_UPDATE,
        5,
        (("crm_create", 331), ("sync", 970), ("contested", 154), ("contested", 404), ("contested", 666)),
    ),
    "throttle_ignored": Caught(
        Invariant.BUDGET,
        35,
        (
            ("hub_insert", 561),
            ("trouble", 343),
            ("trouble", 768),
            ("trouble", 134),
            ("trouble", 765),
            ("trouble", 348),
            ("trouble", 885),
        ),
    ),
    "blind_create": Caught(
        Invariant.EFFECTIVELY_ONCE,
        500,
        (
            ("crm_create", 669553),
            ("crm_create", 918693),
            ("sync", 974691),
            ("trouble", 328968),
            ("crm_delete", 316840),
        ),
    ),
    "settled_early": Caught(Invariant.CONFLICT_COMPLETENESS, 18, (("crm_create", 140891),)),
    "merged_record_made_again": Caught(
        Invariant.NO_LOST_UPDATE,
        33,
        (
            ("crm_create", 249523),
            ("crm_create", 387926),
            ("hub_insert", 960437),
            ("sync", 656115),
            ("crm_merge", 577539),
        ),
    ),
    "no_overlap": Caught(
        Invariant.ATOMIC_PROGRESS,
        8,
        (
            ("crm_create", 140891),
            ("crm_create", 596853),
            ("crm_create", 888598),
            ("crm_create", 841235),
            ("late", 123646),
        ),
    ),
    "watermark_from_now": Caught(
        Invariant.ATOMIC_PROGRESS,
        78,
        (("crm_create", 861881), ("sync", 152649), ("stall", 493097), ("sync", 796635)),
    ),
    "watermark_early": Caught(
        Invariant.ATOMIC_PROGRESS,
        658,
        (
            ("crm_create", 698782),
            ("crm_create", 11387),
            ("trouble", 673993),
            ("trouble", 881542),
            ("wait", 492400),
            ("crm_edit", 499927),
            ("trouble", 533158),
        ),
    ),
    "tombstone_ignored": Caught(Invariant.LIFE_CYCLE, 5, (("crm_create", 800875), ("crm_delete", 471325))),
    "landing_believed": Caught(
        Invariant.NO_LOST_UPDATE,
        84,
        (
            ("crm_create", 247514),
            ("sync", 69746),
            ("hub_edit", 20779),
            ("trouble", 224815),
            ("sync", 671810),
            ("crm_edit", 293598),
            ("sync", 857612),
        ),
    ),
    "no_look": Caught(Invariant.NO_BLIND_OVERWRITE, 5, (("crm_create", 759), ("same_second", 965))),
    "cas_same_second": Caught(Invariant.NO_BLIND_OVERWRITE, 5, (("crm_create", 759), ("same_second", 965))),
    "doubtful_match": Caught(Invariant.NO_BLIND_OVERWRITE, 10, (("entered_twice", 667),)),
    "no_lease": Caught(Invariant.EFFECTIVELY_ONCE, 3, (("hub_insert", 261), ("asleep", 861))),
    "retried_blindly": Caught(
        Invariant.NO_LOST_UPDATE, 21, (("crm_create", 476), ("sync", 794), ("lost", 255), ("lost", 53))
    ),
    "bad_record_spoils_its_batch": Caught(
        Invariant.NO_LOST_UPDATE, 18, (("crm_create", 664), ("crm_create", 53), ("sync", 115))
    ),
    "freezing_forgotten": Caught(
        Invariant.CONVERGENCE, 18, (("crm_create", 965), ("hide", 53), ("wait", 889), ("sync", 104))
    ),
    "absent_is_null": Caught(
        Invariant.NO_LOST_UPDATE,
        44,
        (
            ("crm_create", 897),
            ("wait", 209),
            ("crm_create", 707),
            ("sync", 201),
            ("hide", 989),
            ("hint", 305),
        ),
    ),
}
