"""Whose organisation a token is for."""

import pytest

from crm_sync.connectors.salesforce.login import organisation


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ({"organisation": "00D5g000004XYZAEA4", "access_token": "00D000000000001!AQ"}, "00D5g000004XYZA"),
        ({"access_token": "00D5g000004XYZA!AQ.secret"}, "00D5g000004XYZA"),
        ({"access_token": "eyJ0bmsiOiJjb3JlL3Byb2Q!"}, ""),
        ({"access_token": "00D-without-a-mark"}, ""),
        ({"organisation": "", "access_token": ""}, ""),
        ({}, ""),
    ],
)
def test_the_login_or_the_session_tells_it(token: dict[str, str], expected: str) -> None:
    assert organisation(token) == expected
