"""The words that invented people, companies and deals are made of, awkward ones among them. Data only (see people.py)."""

from datetime import UTC, date, datetime, timedelta

# (as written, as it appears in an e-mail address, what friends say)
FIRST = (
    ("Alexander", "alexander", "Alex"), ("William", "william", "Bill"), ("Robert", "robert", "Bob"),
    ("Katherine", "katherine", "Kate"), ("Margaret", "margaret", "Maggie"), ("Elizabeth", "elizabeth", "Liz"),
    ("Jane", "jane", "Janie"), ("Noah", "noah", "Noah"), ("Amina", "amina", "Amina"), ("Peter", "peter", "Pete"),
    ("José", "jose", "Pepe"), ("Zoë", "zoe", "Zoe"), ("François", "francois", "François"), ("Søren", "soren", "Søren"),
    ("Łukasz", "lukasz", "Luk"), ("Jürgen", "juergen", "Jürgen"), ("Ángela", "angela", "Angie"), ("Þóra", "thora", "Þóra"),
    ("محمد", "mohammed", "محمد"), ("ליאור", "lior", "ליאור"), ("太郎", "taro", "太郎"), ("小明", "xiaoming", "小明"),
    ("지우", "jiwoo", "지우"), ("Дмитрий", "dmitri", "Дима"), ("Mary Ann", "maryann", "Mary"), ("Anne-Marie", "annemarie", "Anne"),
    ("Hope 🌻", "hope", "Hope 🌻"), ('Sam "Ace"', "sam", "Sam"), ("Ngọc", "ngoc", "Ngọc"), ("Ines", "ines", "Ines"),
    ("Thomas", "thomas", "Tom"), ("Ludmila", "ludmila", "Lida"),
)  # fmt: skip
LAST = (
    ("Smith", "smith"), ("Miller", "miller"), ("Johnson", "johnson"), ("Garcia", "garcia"), ("Okafor", "okafor"),
    ("Nguyen", "nguyen"), ("Schmidt", "schmidt"), ("Rossi", "rossi"), ("Brown", "brown"), ("Patel", "patel"),
    ("O'Brien", "obrien"), ("D’Angelo", "dangelo"), ("Müller", "mueller"), ("Núñez", "nunez"), ("Åström", "astrom"),
    ("Çelik", "celik"), ("Straße", "strasse"), ("van der Berg", "vanderberg"), ("de la Cruz", "delacruz"),
    ("Smith-Jones", "smithjones"), ("الأحمد", "alahmad"), ("כהן", "cohen"), ("山田", "yamada"), ("王", "wang"),
    ("김", "kim"), ("Иванова", "ivanova"), ("Null", "null"), ("Kowalczyk", "kowalczyk"), ("MacDonald", "macdonald"),
    ("Nakamura", "nakamura"), ("Silva, Jr.", "silva"), ("Świątek", "swiatek"), ("Đặng", "dang"), ("Novák", "novak"),
    ("Dubois", "dubois"), ("Larsen", "larsen"), ("Haddad", "haddad"),
)  # fmt: skip
STRANGE_LAST = (
    ("'; DROP TABLE contacts;--", "drop"), ("=1+1", "formula"), ("<script>alert(1)</script>", "script"),
    ("' OR Name != '", "soql"), ("%s %(x)s {0} ${y}", "percent"), ("#N/A", "na"), ("\\N", "backslash"), ("true", "true"),
)  # fmt: skip
TITLES = (
    "CEO", "Head of Sales", "Geschäftsführerin", "Director, Operations", "Ingénieur d'affaires", "VP “Growth”",
    "Buyer", "Engineer", "Büroleiter", "Owner & Founder", "Data Analyst 🚀", "経理部長",
)  # fmt: skip
LONG_NOTE = "A very long story about a meeting that could have been an e-mail. " * 140
NOTES = (
    "Met at the fair.", "Prefers e-mail, not calls", "First line\nsecond line", "First line\r\nsecond line\r\n",
    'Said: "call me, please"', "a,b;c\td|e", "=SUM(A1:A9)", "+1 for the idea", "@channel urgent", "-2+3",
    "<b>bold</b> & <script>alert('x')</script>", "Robert'); DROP TABLE students;--", "WHERE Name LIKE '%\\_%'",
    "عميل مهم جدًا", "לקוח חשוב", "とても大切なお客様", "👩‍👩‍👧‍👦 family discount 🇪🇺", "naïve café – “quotes” … ½ €",
    "e\u0301 is not é until normalised", "zero\u200bwidth", "  blanks around  ", "back\\slash and 'quote'", "null", "0",
    '{"json": [1, 2]}', "ends with a comma,", "Ünïcödé Ñandú", LONG_NOTE,
)  # fmt: skip
TRADES = (
    "Optics",
    "Logistics",
    "Bakery",
    "Software",
    "Foods",
    "Textiles",
    "Robotics",
    "Solar",
    "Print",
    "Marine",
    "Steel",
)
FOUNDERS = (
    "Northwind", "Blue Heron", "Müller & Söhne", "Café Olé", "Ōkami", "O'Hara", "Żubr", "Smørrebrød", "شركة النور", "山田",
    "Quick “Fox”", "Alpha, Beta", "Green Acre", "Cobalt", "Riverside", "Drei Eichen",
)  # fmt: skip
FORMS = (
    ("Inc.", "Inc"), ("GmbH", "Gmbh"), ("Ltd", "Limited"), ("S.A.", "SA"), ("& Co. KG", "& Co KG"), ("LLC", "L.L.C."),
)  # fmt: skip
WHY = (
    "Renewal",
    "Pilot",
    "Expansion",
    "Hardware, phase 2",
    "Übernahme",
    "Site licence",
    "Training",
    '"Big" one',
)
AREAS = ("415", "212", "312", "617", "206", "512")
# Leap days, and the days on which clocks change in Europe and America.
DAYS = (
    date(2024, 2, 29), date(2028, 2, 29), date(2026, 3, 29), date(2026, 10, 25), date(2026, 3, 8), date(2026, 11, 1),
    date(2026, 12, 31), date(2027, 1, 1),
)  # fmt: skip
EDGES = tuple(
    moment + timedelta(seconds=offset)
    for moment in (
        datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 8, 10, tzinfo=UTC),
        datetime(2026, 11, 1, 9, tzinfo=UTC), datetime(2028, 2, 29, 0, tzinfo=UTC),
    )
    for offset in (-1, 0, 1, 1800)
)  # fmt: skip
