"""Tables of runs: nothing that happened is left out, and no text of a stranger reaches the terminal as it is."""

from rich.console import Console

from crm_sync.commands import console, report
from crm_sync.commands.runs import Run, Step


def shown(table: object) -> str:
    made = Console(width=200)
    with made.capture() as captured:
        made.print(table)
    return captured.get()


def planned(connection: str, rows: int) -> Step:
    row = {"stream": f"{connection}/contact", "target": "crm", "action": "update", "record": "7", "field": "title",
           "old": None, "new": "x", "reason": "hub changed"}  # fmt: skip
    return Step(connection, "outbound", "contact", {"records": rows}, {}, [row] * rows, f"{rows} of {rows}")


def test_every_step_has_its_share_of_the_plan() -> None:
    text = shown(
        report.plan([Run("r", [], [planned("a", 500), planned("b", 3), planned("c", 500)])], limit=20)
    )
    assert text.count("a/contact") == 8
    assert text.count("b/contact") == 3
    assert text.count("c/contact") == 9
    assert "20 rows shown" in text


def test_a_plan_of_nothing_says_so() -> None:
    assert "nothing" in shown(report.plan([Run("r", [])]))


def test_steps_stand_in_the_order_in_which_things_happen() -> None:
    steps = [
        Step("b", "outbound", "contact", {"records": 2, "created": 2}, {"batch_write": 1}),
        Step("", "hub", "contact", {"records": 4, "disputes": 1}, {}),
        Step("b", "inbound", "contact", {"read": 4, "created": 4}, {"list": 2}),
        Step("b", "inbound", "company", {"read": 0}, {"list": 1}),
        Step("b", "outbound", "company", {"records": 0}, {}),
    ]
    lines = [line.split() for line in shown(report.steps(steps, ["company", "contact"])).splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        ["company", "b", "→", "mirror"],
        ["contact", "b", "→", "mirror"],
        ["contact", "mirrors", "→", "hub"],
        ["contact", "hub", "→", "b"],
    ]


def test_values_cannot_steer_a_terminal() -> None:
    text = console.value("a\x1b[31mred\u202e\nb").plain
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "⏎b" in text
    assert console.value(None).plain == "blank"
    assert len(console.value("x" * 500).plain) == 60
