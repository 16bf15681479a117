"""Broken connectors, each with one fault that somebody once had; the suite must find every one of them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa

from crm_sync.connectors.crm import DELETED, MERGED_INTO, MODIFIED_AT, BatchPage, Window
from crm_sync.connectors.memory import MemoryCrm
from crm_sync.core.errors import ErrorClass, RecordError

TICK = timedelta(milliseconds=1)
Mutant = Callable[[MemoryCrm], None]


def shifted(start: timedelta, end: timedelta) -> Mutant:
    """Windows whose ends are off."""

    def mutate(crm):
        listed = crm.account.listed

        def wrong(object_name, window):
            begin = window.start and window.start + start
            return listed(object_name, Window(begin, window.end and window.end + end))

        crm.account.listed = wrong

    return mutate


def pages(change: Callable[[list[dict]], list[dict]]) -> Mutant:
    """Every page that is read is changed."""

    def mutate(crm):
        original = crm._pages

        def wrong(stream, rows):
            for page in original(stream, rows):
                schema = page.batch.schema
                yield BatchPage(pa.RecordBatch.from_pylist(change(page.batch.to_pylist()), schema=schema))

        crm._pages = wrong

    return mutate


def column(name: str, change: Callable[[str | None], str | None]) -> Mutant:
    return pages(lambda rows: [row | {name: change(row[name])} if name in row else row for row in rows])


def operations(change) -> Mutant:
    """Every operation is changed before it takes effect."""

    def mutate(crm):
        original = crm.account.apply
        crm.account.apply = lambda stream, operation: original(stream, change(operation))

    return mutate


def results(change) -> Mutant:
    """Every answer of a writing call is changed."""

    def mutate(crm):
        original = crm._send
        crm._send = lambda stream, ops, into: change(original(stream, ops, into))

    return mutate


def forgetful_creates(crm):
    crm.account.habits.upserts = False
    for infos in crm.account.fields.values():
        infos["HubId"] = replace(infos["HubId"], unique=False)


def equal_stamps_lost(crm):
    """Pages go on after the last stamp instead of after (stamp, id)."""
    original = crm.changed

    def wrong(request, job):
        if request.limit is not None or request.stream.filters:
            yield from original(request, job)
            return
        window = request.window
        while True:
            listed = crm.account.listed(request.stream.object, window)
            rows = sorted(listed, key=lambda row: row.modified)[: crm.knobs.page_size]
            yield from crm._pages(request.stream, rows)
            if len(rows) < crm.knobs.page_size:
                return
            window = Window(rows[-1].modified + TICK, window.end)

    crm.changed = wrong


def unlimited(crm):
    original = crm.changed
    crm.changed = lambda request, job: original(replace(request, limit=None), job)


def unfiltered(crm):
    original = crm.changed
    crm.changed = lambda request, job: original(
        replace(request, stream=replace(request.stream, filters=())), job
    )


def one_bad_apple(crm):
    original = crm._send

    def wrong(stream, ops, into):
        answers = original(stream, ops, into)
        error = next((r.error for r in answers if not r.ok), None)
        return answers if error is None else [replace(r, ok=False, error=error) for r in answers]

    crm._send = wrong


def chatty_errors(crm):
    original = crm.account._bad_value

    def wrong(object_name, info, value, row):
        error = original(object_name, info, value, row)
        return error and replace(error, message=f"{error.message}: {value}")

    crm.account._bad_value = wrong


def gone_is_permanent(answers):
    gone = RecordError(ErrorClass.PERMANENT, "GONE", "gone")
    return [
        replace(r, error=gone) if r.error and r.error.error_class is ErrorClass.GONE else r for r in answers
    ]


def saved_too_late(crm):
    original = crm.write

    def wrong(stream, ops, job, *, batch_size=None):
        class Late:
            def save(self, state):
                self.state = state

            def clear(self):
                job.save(self.state)

        yield from original(stream, ops, Late(), batch_size=batch_size)

    crm.write = wrong


def attribute(path: str, value) -> Mutant:
    def mutate(crm):
        target = crm
        *way, name = path.split(".")
        for step in way:
            target = getattr(target, step)
        setattr(target, name, value)

    return mutate


MUTANTS: dict[str, Mutant] = {
    "window without its start": shifted(TICK, timedelta()),
    "window with its end": shifted(timedelta(), TICK),
    "window that begins early": shifted(-TICK, timedelta()),
    "equal stamps lost": equal_stamps_lost,
    "first record of a page lost": pages(lambda rows: rows[1:]),
    "limit ignored": unlimited,
    "filters ignored": unfiltered,
    "deletions not told": pages(lambda rows: [row for row in rows if row[DELETED] != "true"]),
    "deleted shown as alive": column(DELETED, lambda _: "false"),
    "survivor not named": column(MERGED_INTO, lambda _: None),
    "stamps without an offset": column(MODIFIED_AT, lambda text: text and text.removesuffix("Z")),
    "blank instead of none": column("FirstName", lambda text: text or ""),
    "text trimmed at quotes": column("Notes", lambda text: text and text.replace('"', "")),
    "line ends lost": column("Notes", lambda text: text and text.replace("\r\n", " ")),
    "numbers with exponent": column("Staff", lambda text: text and f"{float(text):e}"),
    "booleans as words of Python": column("OptedOut", lambda text: text and text.title()),
    "dates as moments": column("CloseDate", lambda text: text and f"{text}T00:00:00.000Z"),
    "creates doubled": forgetful_creates,
    "updates overwrite everything": operations(
        lambda o: replace(o, values={"Email": None, "Notes": None, **o.values}) if o.kind == "update" else o
    ),
    "none means leave alone": operations(
        lambda o: replace(o, values={n: v for n, v in o.values.items() if v is not None})
    ),
    "deletes do nothing": operations(lambda o: replace(o, kind="update") if o.kind == "delete" else o),
    "result without a record id": results(lambda answers: [replace(r, crm_id=None) for r in answers]),
    "last result lost": results(lambda answers: answers[:-1]),
    "ids joined by position": results(
        lambda answers: [replace(r, key=o.key) for r, o in zip(answers, reversed(answers), strict=True)]
    ),
    "everything created": results(lambda answers: [replace(r, created=True) for r in answers]),
    "one rejection rejects all": one_bad_apple,
    "values in errors": chatty_errors,
    "gone is permanent": results(gone_is_permanent),
    "errors without fields": results(
        lambda answers: [replace(r, error=r.error and replace(r.error, fields=())) for r in answers]
    ),
    "calls not counted": attribute("_call", lambda _, **__: None),
    "naive clock": lambda crm: attribute("now", lambda: crm.account.clock().replace(tzinfo=None))(crm),
    "any webhook is genuine": attribute("parse_webhook", lambda *_: []),
    "job noted too late": saved_too_late,
}
