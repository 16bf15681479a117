"""The traps of YAML: what is refused, what keeps its spelling, and that a message never shows a value."""

import pytest

from crm_sync.mapping.parse import MAX_BYTES, parse


def tree(text):
    node, problems = parse(text, "f.yaml")
    assert problems == []
    return node.plain()


def told(text):
    return [str(problem) for problem in parse(text, "f.yaml")[1]]


def test_scalars_keep_their_spelling():
    """No number, date or switch is guessed."""
    text = "a: no\nb: 012\nc: 62.0\nd: 2026-01-02\ne: NO\nf: 1e3\nno: yes\n5: x\n"
    assert tree(text) == {
        "a": "no", "b": "012", "c": "62.0", "d": "2026-01-02", "e": "NO", "f": "1e3", "no": "yes", "5": "x",
    }  # fmt: skip


def test_null_is_none_and_quoted_null_is_text():
    assert tree("a:\nb: ~\nc: null\nd: 'null'\ne: ''\n") == {
        "a": None,
        "b": None,
        "c": None,
        "d": "null",
        "e": "",
    }


def test_anchors_and_merge_keys():
    """Aliases share values; what a mapping says itself comes before what `<<` brings."""
    text = "a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\nf: {<<: [*x, {g: 4, b: 5}]}\n"
    found = tree(text)
    assert found["d"] == {"b": "1", "c": "2"}
    assert found["e"] == {"b": "1", "c": "3"}
    assert found["f"] == {"b": "1", "c": "2", "g": "4"}


def test_lines():
    """Of scalars the line they stand on, of collections their key's, of missing keys their parent's."""
    node, _ = parse("a:\n  b: 1\n  c:\n    - x\n    - y: >\n        long\nd: {}\n", "f.yaml")
    for path, line in (
        ((), 1), (("a",), 1), (("a", "b"), 2), (("a", "c"), 3), (("a", "c", 0), 4), (("a", "c", 1, "y"), 5),
        (("a", "none"), 1), (("a", "c", 7), 3), (("d", "x", "y"), 7), (("z",), 1),
    ):  # fmt: skip
        assert node.line_of(path) == line, path


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "given before, on line 1"),
        ("a:\n\tb: 1\n", 2, "a tab in the indentation"),
        ("\ta: 1\n", 1, "a tab in the indentation"),
        ("a: 1\n---\nb: 1\n", 2, "a second YAML document"),
        ("a: !!python/object:os.system x\n", 1, "tags"),
        ("a: !!int 3\n", 1, "tags"),
        ("a: b: c\n", 1, "not valid YAML"),
        ("a: 'x\n", 2, "not valid YAML"),
        ("a: {b: 1\n", 2, "not valid YAML"),
        ("? [a, b]\n: c\n", 1, "a key must be a text"),
        ("a: *nowhere\n", 1, "alias"),
        ("a: &x {b: *x}\n", 1, "alias"),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ('a: 1\nb: "x\\0y"\n', 2, "control character"),
        ('a: "\\ud800"\n', 1, "control character"),
        ('a: "\\UFFFFFFFF"\n', 1, "not valid YAML"),
        ("a: 1\nb: {<<: 1}\n", 2, "`<<` takes an alias"),
        (b"a: 1\nb: caf\xe9\n", 2, "not UTF-8"),
        ("a: 1".encode("utf-16"), 1, "not UTF-8"),
        ("[" * 100 + "]" * 100, 1, "levels deep"),
        ("a: " + "x" * MAX_BYTES, 1, "larger than"),
    ],
)
def test_refused(text, line, message):
    found = told(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"f.yaml:{line}: ")
    assert message in found[0]


def test_an_empty_file():
    for text in ("", "# nothing\n", "---\n"):
        assert len(told(text)) <= 1
    assert told("") == ["f.yaml: the file is empty; begin with `kind:`"]


def test_a_byte_order_mark_is_fine():
    assert tree(b"\xef\xbb\xbfa: 1\n") == {"a": "1"}


def test_a_bomb_of_aliases_is_refused_at_once():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for letter, before in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{letter}: &{letter} [{', '.join(['*' + before] * 9)}]")
    found = told("\n".join(lines))
    assert len(found) == 1
    assert "aliases" in found[0]


@pytest.mark.parametrize(
    "value", ["!hush!hush x", "*hush", "&hush", "@hush", "%hush", "`hush", "'hush", '"hush\\q"', "{hush", "hush: hush", "!hush", "|hush\n x"],
)  # fmt: skip
def test_a_secret_in_broken_yaml_is_not_repeated(value):
    assert "hush" not in "".join(told(f"client_secret: {value}\n"))
