"""How people and programs other than ours reach the three sides: SQL, simple-salesforce, HubSpot's public API.

Nothing here uses our connectors: what the demo writes and reads back, it writes and reads as anybody would.
"""

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import requests
from simple_salesforce.api import Salesforce

from crm_sync.simulators.serve import Simulator

HUBSPOT_PAGE = 100


class SalesforcePerson:
    """Somebody with a Salesforce session."""

    def __init__(self, simulator: Simulator) -> None:
        session = requests.Session()
        session.verify = simulator.ca_file or True
        session.trust_env = False  # a proxy or bundle of the user's must not come between
        self._api = Salesforce(
            instance_url=simulator.base_url,
            session_id=str(simulator.info["access_token"]),
            session=session,
            version="62.0",
        )

    def update(self, object_name: str, crm_id: str, **values: object) -> None:
        getattr(self._api, object_name).update(crm_id, values)

    def create(self, object_name: str, **values: object) -> str:
        """Returns the id of the new record."""
        return str(getattr(self._api, object_name).create(values)["id"])

    def records(self, object_name: str, fields: list[str]) -> Iterator[Mapping[str, Any]]:
        """Every record that is not deleted."""
        yield from self._api.query_all_iter(f"SELECT Id, {', '.join(fields)} FROM {object_name}")


class HubSpotPerson:
    """Somebody with a HubSpot token."""

    def __init__(self, simulator: Simulator) -> None:
        verify = ssl.create_default_context(cafile=simulator.ca_file)
        headers = {"Authorization": f"Bearer {simulator.info['access_token']}"}
        self._http = httpx.Client(
            base_url=simulator.base_url, headers=headers, verify=verify, trust_env=False, timeout=60
        )

    def update(self, object_name: str, crm_id: str, **values: str) -> None:
        self._call("PATCH", f"/crm/v3/objects/{object_name}/{crm_id}", {"properties": values})

    def create(self, object_name: str, **values: str) -> str:
        """Returns the id of the new record."""
        return str(self._call("POST", f"/crm/v3/objects/{object_name}", {"properties": values})["id"])

    def associate(self, from_name: str, from_id: str, to_name: str, to_id: str) -> None:
        """The default association, which for a contact and a company becomes the primary one."""
        self._call(
            "PUT", f"/crm/v4/objects/{from_name}/{from_id}/associations/default/{to_name}/{to_id}", None
        )

    def records(
        self, object_name: str, properties: list[str], associations: list[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Every record that is not archived, with its associations."""
        query = {"limit": str(HUBSPOT_PAGE), "properties": ",".join(properties)}
        if associations:
            query["associations"] = ",".join(associations)
        after: str | None = None
        while True:
            page = self._call(
                "GET",
                f"/crm/v3/objects/{object_name}",
                None,
                {**query, **({"after": after} if after else {})},
            )
            yield from page["results"]
            after = page.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return

    def stages(self) -> dict[str, str]:
        """Labels of the deal stages by id."""
        pipelines = self._call("GET", "/crm/v3/pipelines/deals", None)["results"]
        return {stage["id"]: stage["label"] for pipeline in pipelines for stage in pipeline["stages"]}

    def close(self) -> None:
        self._http.close()

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None = None
    ) -> Any:
        answer = self._http.request(method, path, json=body, params=query)
        answer.raise_for_status()
        return answer.json() if answer.content else None
