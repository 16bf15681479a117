"""`crm-sync sync`: a sync now, in this process, recorded for the UI if there is one."""

from collections.abc import Mapping, Sequence

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace


def sync(words: Sequence[str], flags: Mapping[str, object]) -> int:
    """Sync what the words select and show what happened. Returns 1 if a step failed, else 0, also
    where the limits leave the rest to a later sync."""
    here = workspace()
    targets = here.targets(words)
    with console.err.status("preparing"):
        url = here.database()
        from crm_sync.commands import instance, report, runs
        from crm_sync.definitions import build
        from crm_sync.steps.unread import NOT_CREATED

        definitions = build(here.system, here.settings)
    done: list[runs.Run] = []
    with instance.recording(here.settings, url) as dagster, console.progress() as progress:
        # Everything in one run has one order: all CRMs in, the hub, all CRMs out. So one sync is enough.
        chosen = [(None, None)] if not words else list(targets.items())
        for connection, entities in chosen:
            done.append(
                runs.sync(
                    definitions,
                    here.system,
                    dagster,
                    connection,
                    entities=entities,
                    flags=flags,
                    progress=progress,
                )
            )
    steps = [step for run in done for step in run.steps]
    console.out.print(report.steps(steps, here.system.entities))
    if flags.get("dry_run"):
        console.out.print()
        console.out.print(report.plan(done))
        for note in dict.fromkeys(
            note for step in steps for note in step.notes if note.startswith("guard: ")
        ):
            console.out.print(note, markup=False, soft_wrap=True)
    for note in dict.fromkeys(
        n for step in steps for n in step.notes if n.startswith(("approval: ", NOT_CREATED))
    ):
        console.out.print(note, markup=False, soft_wrap=True)
    for text in (text for run in done for text in run.stopped):
        console.err.print(f"stopped: {text}", markup=False, soft_wrap=True)
    failures = [failure for run in done for failure in run.failures]
    for failure in failures:
        console.err.print(f"failed: {failure}", markup=False, soft_wrap=True)
    return 1 if failures else 0
