"""The org's first records: the few that are simply there, and recipes for the many (seeded.py).

Here: users, record types, the organization, currencies, campaigns. Not here: how Salesforce spells people, companies and
deals (spelling.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from crm_sync.simulators.salesforce import ids, spelling
from crm_sync.simulators.salesforce.clock import stamp
from crm_sync.simulators.salesforce.fields import CURRENCIES
from crm_sync.simulators.salesforce.org import Org
from crm_sync.simulators.salesforce.schema import Row
from crm_sync.simulators.salesforce.seeded import DAY, Recipe, Seeded
from crm_sync.simulators.serve import Options

USERS = (  # (first name, last name, user name)
    ("Ana", "Admin", "ana.admin@crm-sync.example"),
    ("Sam", "Sales", "sam.sales@crm-sync.example"),
    ("Olga", "Ops", "olga.ops@crm-sync.example"),
)
CAMPAIGNS = ("Spring fair", "Webinar: first steps", "Partner day", "Autumn mailing")
RECORD_TYPES = (("Customer", "Customer"), ("Partner", "Partner"))
RATES = (1.0, 0.92, 0.79, 151.0, 0.88, 1.37, 1.52)


def fill(org: Org, options: Options) -> None:
    """Plant users, record types, companies, people, deals, and a few leads, campaigns and tasks."""
    Seeder(org, options).run()


class Seeder:
    """Makes the rows that are there only a few times, and plants the rest."""

    def __init__(self, org: Org, options: Options) -> None:
        self.org = org
        self.options = options
        self.now = int(org.clock.now())
        self.owners: list[str] = []
        self.templates: dict[str, Row] = {}

    def run(self) -> None:
        load, plant, options = self.org.store.load, self._plant, self.options
        load("User", list(self._users()))
        types = list(self._record_types())
        load("RecordType", types)
        load("Organization", [self._organization()])
        load("CurrencyType", list(self._currencies()))
        campaigns = list(self._campaigns())
        load("Campaign", campaigns)
        plant("Account", spelling.accounts(options, [row[0] for row in types]))
        plant("Contact", spelling.contacts(options))
        plant("Opportunity", spelling.opportunities(options))
        plant("Lead", spelling.leads(options))
        plant("CampaignMember", spelling.members(options, [row[0] for row in campaigns]))
        plant("Task", spelling.tasks(options))

    def _plant(self, name: str, recipe: Recipe) -> None:
        table = self.org.store.tables[name]
        table.rows.plant(Seeded(table.object, recipe, self.now, self.owners))
        table.counter = recipe.count

    def _row(self, name: str, values: Mapping[str, Any], seconds_ago: int) -> Row:
        table = self.org.store.tables[name]
        position = table.object.position
        table.counter = number = table.counter + 1
        row = self._template(name).copy()
        row[0] = ids.make(table.object.prefix, number)
        user = self.owners[number % len(self.owners)] if self.owners else row[0]
        changed = self.now - seconds_ago
        row[position["LastModifiedDate"]] = row[position["SystemModstamp"]] = stamp(changed)
        row[position["CreatedDate"]] = stamp(changed - number % 90 * DAY)
        row[position["CreatedById"]] = row[position["LastModifiedById"]] = user
        if "OwnerId" in position:
            row[position["OwnerId"]] = user
        for key, value in values.items():
            row[position[key]] = (value.strip() or None) if type(value) is str else value
        return row

    def _template(self, name: str) -> Row:
        """A row of the object with what every record has."""
        row = self.templates.get(name)
        if row is None:
            o = self.org.store.tables[name].object
            row = self.templates[name] = [None] * o.width
            for f in o.fields:
                if f.name in o.position and f.default is not None:
                    row[o.position[f.name]] = f.default
        return row

    def _users(self) -> Iterator[Row]:
        logins = [("Integration", "User", self.org.account.username), *USERS]
        for number, (first, last, username) in enumerate(logins):
            values = {
                "Username": username,
                "FirstName": first,
                "LastName": last,
                "Email": username,
                "Alias": f"user{number}",
                "IsActive": True,
                "UserType": "Standard",
                "TimeZoneSidKey": "GMT",
                "LocaleSidKey": "en_US",
                "LanguageLocaleKey": "en_US",
            }
            row = self._row("User", values, 500 * DAY)
            self.org.sessions.users[username] = row[0]
            yield row
        self.owners = list(self.org.sessions.users.values())[1:]

    def _record_types(self) -> Iterator[Row]:
        for name, developer_name in RECORD_TYPES:
            values = {
                "Name": name,
                "DeveloperName": developer_name,
                "SobjectType": "Account",
                "IsActive": True,
            }
            yield self._row("RecordType", values, 500 * DAY)

    def _organization(self) -> Row:
        values = {
            "Name": "crm_sync simulator",
            "OrganizationType": "Enterprise Edition",
            "InstanceName": "SIM1",
            "IsSandbox": False,
            "DefaultLocaleSidKey": "en_US",
            "TimeZoneSidKey": "GMT",
            "LanguageLocaleKey": "en_US",
        }
        row = self._row("Organization", values, 500 * DAY)
        row[0] = self.org.sessions.org_id
        return row

    def _currencies(self) -> Iterator[Row]:
        for code, rate in zip(CURRENCIES, RATES, strict=True):
            places = 0 if code == "JPY" else 2
            values = {"IsoCode": code, "ConversionRate": rate, "DecimalPlaces": places, "IsActive": True}
            yield self._row("CurrencyType", values | {"IsCorporate": code == "USD"}, 500 * DAY)

    def _campaigns(self) -> Iterator[Row]:
        for number, name in enumerate(CAMPAIGNS):
            values = {
                "Name": name,
                "Type": "Other",
                "Status": "In Progress",
                "IsActive": True,
                "StartDate": "2026-10-01",
            }
            yield self._row("Campaign", values, (number + 1) * 20 * DAY)
