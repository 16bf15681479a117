"""Whatever a file holds, the answer is a system or a ConfigError, and a secret in it is never repeated."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from crm_sync.core.errors import ConfigError
from crm_sync.core.spec import System
from crm_sync.mapping.load import load_text
from crm_sync.mapping.models import ConnectionModel, EntityModel, FieldModel

EXAMPLE = (Path(__file__).parents[2] / "examples" / "salesforce.yaml").read_text("utf-8")
LINES = [line for line in EXAMPLE.splitlines() if line.strip() and not line.strip().startswith("#")]
KEYS = sorted(
    {name for model in (ConnectionModel, EntityModel, FieldModel) for name in model.model_fields}
    | {"kind", "auth", "from", "env", "options"}
)


def outcome(data):
    try:
        found = load_text(data, "junk.yaml")
    except ConfigError as error:
        found = error
    assert len(found.connections) == 1 if isinstance(found, System) else found.problems
    str(found).encode()
    return found


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes(data):
    outcome(data)


@settings(deadline=None)
@given(st.text(alphabet="ab:{}[]&*!|>'\"%@`-?,# \n\t\\x0$~<", max_size=80))
def test_texts_made_of_what_yaml_understands(text):
    outcome(text)


@settings(deadline=None)
@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 40), st.text(max_size=6))
def test_a_damaged_example(start, length, put):
    outcome(EXAMPLE[:start] + put + EXAMPLE[start + length :])


@settings(deadline=None)
@given(st.lists(st.sampled_from(range(len(LINES))), unique=True, max_size=6), st.integers(-4, 4))
def test_an_example_with_lines_left_out_or_shifted(gone, shift):
    lines = [line for index, line in enumerate(LINES) if index not in gone]
    moved = [" " * shift + line if shift > 0 else line[-shift:] for line in lines[len(lines) // 2 :]]
    outcome("\n".join(lines[: len(lines) // 2] + moved))


def _yaml(value):
    """Flow style, quoted where needed; JSON is YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return value


scalars = st.sampled_from(
    [
        "1",
        "-1",
        "true",
        "~",
        "''",
        "x",
        "Name",
        "two_way",
        "picklist",
        "reference",
        "company",
        "'{a}'",
        "number",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "a", "b"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.sampled_from(["salesforce", "hubspot", "memory"]),
    st.dictionaries(st.sampled_from([key for key in KEYS if key != "kind"]), values, max_size=6),
)
def test_any_shape_under_the_right_keys(kind, rest):
    outcome(_yaml({"kind": kind, **rest}))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.dictionaries(st.sampled_from(KEYS), values, max_size=5),
        min_size=1,
    )
)
def test_any_fields_in_an_entity(fields):
    text = _yaml({"kind": "memory", "entities": {"a": {"object": "A", "match": "a", "fields": fields}}})
    outcome(text)


@settings(deadline=None)
@given(
    st.sampled_from(
        ["client_secret", "refresh_token", "access_token", "private_key", "grant", "token", "env"]
    ),
    st.integers(0, 4),
)
def test_a_secret_in_the_wrong_place_is_not_repeated(key, form):
    secret = "hunter2hunter2"
    value = [secret, f'"{secret}"', f"[{secret}]", f"{{value: {secret}}}", f'"${{{secret}-"'][form]
    auth = (
        f"{{grant: refresh_token, client_id: x, {key}: {value}}}" if key != "grant" else f"{{grant: {value}}}"
    )
    error = outcome(
        f"kind: salesforce\nauth: {auth}\n{key}: {value}\nentities: {{a: {{object: A, fields: {{n: N}}}}}}\n"
    )
    assert isinstance(error, ConfigError)
    assert secret not in str(error)
