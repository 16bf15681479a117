"""What every connector must do, whatever its vendor: one suite, subclassed for each.

    class TestMine(CrmContract):
        @pytest.fixture
        def crm(self): ...        # the connector
        @pytest.fixture
        def streams(self): ...    # {"contact": StreamSpec, "company": ..., "deal": ...}
        @pytest.fixture
        def person(self): ...     # edits the account as people do: kit.Person

The account may hold other records and be shared by the tests. Our field names are fixed: contact has
`first_name`, `last_name`, `email` and a reference `company`; company has `name`; deal has `name`, `amount`,
`close_date`, `stage` and a reference `company`. Other fields are found by their type: add `notes` (long text), a
boolean, a date, a multipicklist to contact if the vendor has them. A test of something that a vendor does not
have is skipped with the reason, never passed.
"""

from tests.contract.account import Account
from tests.contract.reading import Reading
from tests.contract.writing import Jobs, Writing


class CrmContract(Reading, Writing, Account, Jobs):
    """The whole contract; subclass it with the fixtures `crm`, `streams` and `person`."""
