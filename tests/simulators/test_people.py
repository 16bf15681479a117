"""The invented people: stable, unique, valid where they must be, awkward where they should be."""

import re

import phonenumbers
import pytest

from crm_sync.simulators import people_columns
from crm_sync.simulators.people import (
    STAGES,
    Company,
    Deal,
    Person,
    companies,
    company,
    company_count,
    deal,
    deal_count,
    deals,
    people,
    person,
)

N = 6000
SIDES = ("salesforce", "hubspot")


def everything(side):
    return (
        {p.key: p for p in people(N, 7, side)},
        {c.key: c for c in companies(company_count(N), 7, side)},
        {d.key: d for d in deals(deal_count(N), 7, side)},
    )


def test_the_same_seed_gives_the_same_people_and_another_seed_others():
    assert list(people(50, 1, "hubspot")) == list(people(50, 1, "hubspot"))
    assert list(people(50, 1, "hubspot")) != list(people(50, 2, "hubspot"))


def test_more_people_do_not_change_the_first_ones():
    assert list(people(500, 1, "hubspot"))[:100] == list(people(100, 1, "hubspot"))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_half_of_the_records_are_known_to_both_sides(kind):
    sf, hs = everything("salesforce")[kind], everything("hubspot")[kind]
    assert len(sf) == len(hs)
    assert len(sf.keys() & hs.keys()) == (len(sf) + 1) // 2


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("count", [1, 2, 13, 100, N])
def test_references_exist_on_the_same_side(side, count):
    firms = {c.key for c in companies(company_count(count), 7, side)}
    persons = {p.key: p for p in people(count, 7, side)}
    assert {p.company_key for p in persons.values()} <= firms | {None}
    for sale in deals(deal_count(count), 7, side):
        assert sale.company_key is None or sale.company_key in firms
        assert sale.person_key is None or sale.person_key in persons
        assert sale.stage in STAGES


def test_references_of_shared_records_are_the_same_on_both_sides():
    (sp, _, sd), (hp, _, hd) = everything("salesforce"), everything("hubspot")
    assert all(sp[k].company_key == hp[k].company_key for k in sp.keys() & hp.keys())
    assert all(
        (sd[k].company_key, sd[k].person_key) == (hd[k].company_key, hd[k].person_key)
        for k in sd.keys() & hd.keys()
    )


def test_addresses_and_domains_are_unique_across_sides_but_for_letter_case():
    (sp, sc, _), (hp, hc, _) = everything("salesforce"), everything("hubspot")
    both = {(k, p.email.lower()) for k, p in sp.items()} | {(k, p.email.lower()) for k, p in hp.items()}
    assert len({email for _, email in both}) == len({k for k, _ in both}) == len(both)
    assert all(re.fullmatch(r"[a-z0-9.]+@[a-z0-9-]+\.example", email) for _, email in both)
    assert any(sp[k].email != hp[k].email for k in sp.keys() & hp.keys())
    assert len({c.domain for c in (*sc.values(), *hc.values())}) == len(sc.keys() | hc.keys())


def test_phone_numbers_are_valid_and_the_same_number_in_different_spellings():
    (sp, _, _), (hp, _, _) = everything("salesforce"), everything("hubspot")
    different = 0
    for key in sp.keys() & hp.keys():
        for a, b in ((sp[key].phone, hp[key].phone), (sp[key].mobile, hp[key].mobile)):
            assert (a is None) == (b is None)
            if a is not None:
                left, right = phonenumbers.parse(a, "US"), phonenumbers.parse(b, "US")
                assert phonenumbers.is_valid_number(left), a
                assert left == right, (a, b)
                different += a != b
    assert different > 1000


def test_awkward_values_are_there():
    persons, firms, sales = everything("hubspot")
    text = "\x00".join(
        filter(None, (v for p in persons.values() for v in (p.first_name, p.last_name, p.notes)))
    )
    for piece in (
        "é",
        "🌻",
        "محمد",
        "ליאור",
        "太郎",
        "O'Brien",
        "DROP TABLE",
        "=1+1",
        "<script>",
        "\r\n",
        '"',
        ", ",
    ):
        assert piece in text, piece
    assert any(len(p.notes or "") > 8000 for p in persons.values())
    assert any(p.first_name and p.first_name != p.first_name.strip() for p in persons.values())
    assert any(p.birth_date and (p.birth_date.month, p.birth_date.day) == (2, 29) for p in persons.values())
    assert any(len(p.interests) > 1 for p in persons.values())
    assert (
        {d.currency for d in sales.values()}
        == {c.currency for c in firms.values()}
        == {"USD", "EUR", "GBP", "JPY"}
    )
    assert all(
        d.amount == int(d.amount) for d in sales.values() if d.amount is not None and d.currency == "JPY"
    )
    assert any(d.amount is not None and d.amount != int(d.amount) for d in sales.values())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seed", [1, 7, 2**40 + 3])
def test_columns_say_the_same_as_single_records(side, seed):
    for columns, single, fields in (
        (people_columns.People, person, Person),
        (people_columns.Companies, company, Company),
        (people_columns.Deals, deal, Deal),
    ):
        keys = people_columns.keys_of(9000, side)[[*range(300), *range(4000, 9000)]]
        block = columns(keys, seed, side)
        records = [single(key, seed, side) for key in keys.tolist()]
        for name in fields._fields:
            assert getattr(block, name) == [getattr(record, name) for record in records], (fields, name)
