"""The table of environment variables: values, refusals that do not show the value, and the generated page."""

from pathlib import Path

import pytest

from crm_sync.settings import SettingError, Settings, reference

PROJECT = Path(__file__).parents[1]


def test_everything_has_a_default() -> None:
    settings = Settings.from_env({"PATH": "/usr/bin", "CRM_SYNC_SOMETHING_OF_A_CONNECTION": "x"})
    assert settings.database_url is None
    assert settings.home == Path(".crm_sync")
    assert settings.connections == Path("connections")
    assert settings.secret_keys == ()
    assert settings.mask_review is False
    assert (settings.review_rows, settings.http_timeout) == (100, 60.0)
    assert (settings.ui_url, settings.default_region) == ("http://127.0.0.1:3000", "US")


def test_values_are_read_and_an_empty_one_counts_as_absent() -> None:
    settings = Settings.from_env(
        {
            "CRM_SYNC_DATABASE_URL": "postgresql://app:pw@db.example:5433/crm?sslmode=require",
            "CRM_SYNC_HOME": "",
            "CRM_SYNC_SECRET_KEY": " new= , old= ,",
            "CRM_SYNC_MASK_REVIEW": "On",
            "CRM_SYNC_REVIEW_ROWS": " 25 ",
            "CRM_SYNC_UI_URL": "https://dagster.example/",
            "CRM_SYNC_DEFAULT_REGION": "de",
            "CRM_SYNC_HTTP_TIMEOUT": "2.5",
        }
    )
    assert settings.database_url == "postgresql://app:pw@db.example:5433/crm?sslmode=require"
    assert settings.home == Path(".crm_sync")
    assert settings.secret_keys == ("new=", "old=")
    assert settings.mask_review is True
    assert (settings.review_rows, settings.http_timeout) == (25, 2.5)
    assert (settings.ui_url, settings.default_region) == ("https://dagster.example", "DE")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("CRM_SYNC_DATABASE_URL", "mysql://root:hunter2@db/crm", "postgresql://"),
        (
            "CRM_SYNC_DATABASE_URL",
            "postgresql://u:hunter2@db:port/crm",
            "postgresql://user:password@host:5432/database",
        ),
        ("CRM_SYNC_MASK_REVIEW", "maybe", "on or off"),
        ("CRM_SYNC_REVIEW_ROWS", "0", "a whole number from 1 to 1000"),
        ("CRM_SYNC_REVIEW_ROWS", "٣٣٣٣", "a whole number from 1 to 1000"),
        ("CRM_SYNC_UI_URL", "dagster.example", "http:// or https://"),
        ("CRM_SYNC_DEFAULT_REGION", "Germany", "two letters"),
        ("CRM_SYNC_HTTP_TIMEOUT", "nan", "from 1 to 600"),
        ("CRM_SYNC_HTTP_TIMEOUT", "soon", "from 1 to 600"),
    ],
)
def test_a_refusal_names_the_variable_and_what_it_takes_but_not_the_value(
    name: str, value: str, wanted: str
) -> None:
    with pytest.raises(SettingError) as refused:
        Settings.from_env({name: value})
    text = str(refused.value)
    assert name in text
    assert wanted in text
    assert f"of {len(value)} characters" in text
    assert len(value) < 4 or value not in text
    assert "hunter2" not in text


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings.from_env(
        {"CRM_SYNC_DATABASE_URL": "postgresql://app:hunter2@db/crm", "CRM_SYNC_SECRET_KEY": "tomato"}
    )
    assert "hunter2" not in repr(settings)
    assert "tomato" not in repr(settings)


def test_the_page_of_settings_is_up_to_date() -> None:
    page = PROJECT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(), "run `make docs`"
