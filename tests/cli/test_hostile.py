"""What a stranger has written is shown as it is: no markup, no picture, nothing that steers the terminal."""

import json
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from crm_sync.commands import console
from tests.cli.conftest import Place

SAID = "Use the new form [/lightning/contact] for [bold]EU[/bold] :warning:"
EVIL = f"{SAID} \x1b[2J\x9b31m\u202e"
PARKED = (
    "insert into sync.parked (connection, entity, side, record_id, hub_id, crm_id, error_class, code, reason)"
    " select 'hubspot', 'contact', 'crm', crm_id, hub_id, crm_id, 'x', '[/a]', $evil${}$evil$ from hubspot.contact_base"
)
HELD = (
    "insert into sync.hold (connection, entity, cause, side, status, sentence, would, decided_by)"
    " values ('hubspot', 'contact', 'limits', 'crm', 'open', $evil${}$evil$, '{{}}', '[/b]')"
)
PLANNED = (
    "insert into sync.plan (hash, status, origin, made_by, streams, figures, calls, rows, records, decided_by)"
    " values ('x', 'approved', 'person', '[/c]', '{{}}', '{{}}', '{{}}', 1, 1, $evil${}$evil$)"
)
DISPUTED = (
    "insert into review.conflict (connection, entity, hub_id, crm_id, field, hub_value, crm_value, suggestion, reason)"
    " values ('hubspot', 'contact', gen_random_uuid(), '[/d]', 'phone', $evil${}$evil$, '1', 'use_crm', 'x')"
)


def test_commands_show_text_of_strangers_as_it_is(place: Place) -> None:
    """`crm-sync verify` ended with a MarkupError at the first refusal with a square bracket."""
    place.run("setup")
    assert place.run("sync").status == 0
    for made in (PARKED, HELD, PLANNED, DISPUTED):
        place.rows(made.format(EVIL))
    place.rows("set session_replication_role = replica; update hub.contact set last_name = 'Nobody saw it'")
    said = {
        words: place.run(*words.split())
        for words in (
            "verify hubspot/contact",
            "parked list",
            "guard list",
            "plan list",
            "conflicts list",
            "status",
        )
    }
    for words, shown in said.items():
        assert shown.status < 2, f"{words}: {shown.err}"
        assert not {"\x1b", "\x9b", "\u202e"} & set(shown.out + shown.err), words
    for words in ("verify hubspot/contact", "parked list", "guard list", "plan list"):
        assert SAID in " ".join(said[words].out.split()), words
    assert "approved by Use the new form [/lightning/contact]" in " ".join(said["plan list"].out.split())
    assert "open by [/b]" in said["guard list"].out
    assert "[/d]" in said["conflicts list"].out
    # A program gets the text itself.
    (hold,) = json.loads(place.run("guard", "list", "--json").out)
    assert hold["sentence"] == EVIL
    assert EVIL in {one["reason"] for one in json.loads(place.run("parked", "list", "--json").out)["parked"]}


def test_a_table_and_a_line_are_literal(capsys: pytest.CaptureFixture[str]) -> None:
    table = console.table("[/head] :warning:", "b", title="[/title]")
    table.add_row(SAID, console.value(EVIL))
    made = Console(width=200)  # whoever prints it
    with made.capture() as captured:
        made.print(table)
    for text in ("[/head] :warning:", "[/title]", SAID):
        assert text in captured.get()
    console.out.print(EVIL)
    assert capsys.readouterr().out.strip() == f"{SAID} \ufffd[2J\ufffd31m\ufffd"


def test_names_are_spelled_as_their_owners_do() -> None:
    for name in ("\u0645\u06cc\u200c\u0622\u06cc\u062f", "👩\u200d💻", "a\u00a0b", "é"):
        assert console.visible(name) == name


VALUE = "Müller \x1b\x7f\x9b\u202e\u2028\U000e0001"


def test_a_document_is_utf8_for_programs_and_steers_no_terminal() -> None:
    code = f"from crm_sync.commands import console; console.document({VALUE!r})"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert json.loads(piped) == VALUE
    assert VALUE[8:].encode() in piped
    reader, writer = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=writer, check=True)
    os.close(writer)
    shown = os.read(reader, 4096).decode()
    os.close(reader)
    assert "Müller" in shown
    assert shown.strip().isprintable()
    assert json.loads(shown) == VALUE
