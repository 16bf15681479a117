"""Phone numbers that are valid and belong to nobody, each in three spellings."""

from crm_sync.simulators import vocabulary


def phone(number: int, spelling: int, *, mobile: bool) -> str:
    """The number that follows from the bits of ``number``, written as those of ``spelling`` say."""
    return phone_text(min(number % 10, 2), number >> 8, spelling % 3, mobile=mobile)


def phone_text(country: int, number: int, style: int, *, mobile: bool) -> str:
    """A number that libphonenumber holds for valid, from ranges set aside for fiction where there are such.

    ``country`` is 0 for Germany, 1 for Britain, 2 for America; ``style`` one of three ways to write it.
    """
    if country < 2:
        if country == 0:  # Berlin; German mobile
            code, head, tail = (
                ("49", "171", f"39200{number % 100:02d}")
                if mobile
                else ("49", "30", f"23125{number % 1000:03d}")
            )
        else:  # London; British mobile
            code, head, tail = (
                ("44", "7400", f"{number % 1_000_000:06d}")
                if mobile
                else ("44", "20", f"79460{number % 1000:03d}")
            )
        return (f"+{code} {head} {tail}", f"+{code}{head}{tail}", f"+{code} (0){head} {tail[:3]} {tail[3:]}")[
            style
        ]
    area, line = vocabulary.AREAS[number % 6], f"{100 + number % 9900:04d}"
    return (f"({area}) 555-{line}", f"+1 {area}-555-{line}", f"{area}.555.{line}")[style]
