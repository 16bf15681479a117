"""The end of records, and what becomes of them: archived, merged, brought back, and what people decide about it."""

import random

from crm_sync.hub import merges
from tests.machine.ground import NAMES
from tests.machine.trouble import Trouble


class Life(Trouble):
    """Deletions and returns on single sides are people's (`people.py`); here is what concerns more than one record."""

    def hub_archive(self, rng: random.Random) -> None:
        """An application archives a record of the hub, or takes one out of the archive."""
        rows = self.g.hub("contact")
        archived = [hub_id for hub_id, row in rows.items() if row["archived_at"] is not None]
        if archived and rng.random() < 0.6:
            self.g.conn.execute(
                "update hub.contact set archived_at = null where id = %s", [rng.choice(archived)]
            )
        elif rows:
            hub_id = rng.choice(list(rows))
            self.diary.gone.add(str(rows[hub_id]["email"]))
            self.g.conn.execute("update hub.contact set archived_at = now() where id = %s", [hub_id])

    def crm_merge(self, rng: random.Random) -> None:
        """A person merges two records of a CRM, perhaps just after having edited one; a sync may see only a half of it."""
        name = rng.choice(NAMES)
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if len(ids) < 2:
            return
        winner, loser = rng.sample(ids, 2)
        if rng.random() < 0.4:
            self._edit_in_crm(rng, name, rng.choice((winner, loser)))
        account = self.g.lagging(name)
        for crm_id in (winner, loser):
            self.diary.gone.add(str(account.row("Contact", crm_id).values.get("Email")))
        kept, lost = (account.row("Contact", crm_id).values for crm_id in (winner, loser))
        account.person_merge("Contact", winner, loser)
        now = account.row("Contact", winner).values
        for f, vendor in self.g.vendor["contact"].items():
            self.diary.wrote((name, winner, f), kept.get(vendor), now.get(vendor))
            if lost.get(vendor) is not None:
                self.diary.written.setdefault((name, winner, f), set()).add(lost[vendor])

    def settle_merge(self, rng: random.Random) -> None:
        """A person decides whether two hub records become one, of whose CRM records somebody made one."""
        if waiting := merges.find(self.g.conn):
            merges.decide(self.g.conn, rng.choice(waiting), rng.choice(("merge", "merge", "apart")), "mina")

    def lead(self, rng: random.Random) -> None:
        """Somebody who may become a contact is entered in acme, or changed there or in the hub."""
        account = self.g.lagging("acme")
        leads, hub_ids = account.rows("Lead"), list(self.g.hub("lead"))
        self.people += 1
        values: dict[str, str | None] = {"last_name": rng.choice(("Lee", f"L{self.people}"))}
        choice = rng.random()
        if leads and choice < 0.3:
            self._crm_write("acme", "lead", rng.choice(leads).id, values)
        elif hub_ids and choice < 0.6:
            self._hub_write("lead", rng.choice(hub_ids), values)
        else:
            values["email"] = f"p{self.people}@x.example"
            crm_id = account.person_create("Lead", {self.g.vendor["lead"][f]: v for f, v in values.items()})
            for f, value in values.items():
                self.diary.wrote(("acme", crm_id, f), None, value)

    def convert(self, rng: random.Random) -> None:
        """A lead becomes a contact, a new one with its address or one that is there."""
        account = self.g.lagging("acme")
        leads = [row for row in account.rows("Lead") if not row.became]
        if not leads:
            self.lead(rng)
            return
        lead, contacts = rng.choice(leads), account.rows("Contact")
        if contacts and rng.random() < 0.3:
            contact = rng.choice(contacts).id
        else:
            contact = self._crm_insert(
                "acme", {f: lead.values.get(v) for f, v in self.g.vendor["lead"].items()}
            )
        account.person_convert("Lead", lead.id, contact)
