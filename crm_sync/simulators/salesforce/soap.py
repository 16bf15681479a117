"""The SOAP login() call, which some clients still use; nothing else of the SOAP API.

Source: SOAP API Developer Guide, "login()". Gone from API version 65 on.
"""

import re
from html import unescape
from xml.sax.saxutils import escape

from crm_sync.simulators.salesforce.web import Answer, Call

LAST_VERSION = 64.0
HEADERS = {"Content-Type": "text/xml;charset=UTF-8"}


def login(call: Call) -> Answer:
    """POST /services/Soap/u/{version}."""
    text = call.body.decode("utf-8", "replace")
    username, password = (_element(text, name) for name in ("username", "password"))
    account = call.org.account
    if float(call.parts["version"].split("/")[0]) > LAST_VERSION:
        return _fault("UNKNOWN_EXCEPTION", "login() is not available in this API version")
    if username is None or password is None:
        return _fault("UNKNOWN_EXCEPTION", "only login() is supported here")
    if not call.org.settings.soap_login:
        return _fault(
            "INSUFFICIENT_ACCESS", "insufficient access: the user lacks the permission Use Any API Auth"
        )
    good = (account.password, account.password + account.security_token)
    if username != account.username or password not in good:
        return _fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    found = re.search(r"<(?:\w+:)?client>([^<]*)<", text)
    session = call.org.sessions.open(username, unescape(found[1]) if found else "SOAP", "api")
    server = f"{call.org.base_url}/services/Soap/u/{call.parts['version']}/{call.org.sessions.org_id[:15]}"
    return Answer(
        body=(
            '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
            'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><loginResponse><result>'
            f"<metadataServerUrl>{escape(server.replace('/u/', '/m/'))}</metadataServerUrl>"
            "<passwordExpired>false</passwordExpired><sandbox>false</sandbox>"
            f"<serverUrl>{escape(server)}</serverUrl><sessionId>{escape(session.token)}</sessionId>"
            f"<userId>{session.user_id}</userId><userInfo>"
            f"<organizationId>{call.org.sessions.org_id}</organizationId><organizationMultiCurrency>true"
            f"</organizationMultiCurrency><sessionSecondsValid>{int(call.org.settings.session_seconds)}"
            f"</sessionSecondsValid><userEmail>{escape(username)}</userEmail><userName>{escape(username)}</userName>"
            "</userInfo></result></loginResponse></soapenv:Body></soapenv:Envelope>"
        ).encode(),
        headers=dict(HEADERS),
    )


def _element(text: str, name: str) -> str | None:
    found = re.search(rf"<(?:\w+:)?{name}>([^<]*)</", text)
    return unescape(found[1]) if found else None


def _fault(code: str, message: str) -> Answer:
    return Answer(
        500,
        (
            '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
            'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:sf="urn:fault.partner.soap.sforce.com" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>'
            f"<faultcode>sf:{code}</faultcode><faultstring>{code}: {escape(message)}</faultstring>"
            f'<detail><sf:LoginFault xsi:type="sf:LoginFault"><sf:exceptionCode>{code}</sf:exceptionCode>'
            f"<sf:exceptionMessage>{escape(message)}</sf:exceptionMessage></sf:LoginFault></detail>"
            "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
        ).encode(),
        dict(HEADERS),
    )
