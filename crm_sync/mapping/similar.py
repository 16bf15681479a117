"""The option `similar` of an entity: how records are compared that no exact rule finds."""

import re
from collections.abc import Iterator, Mapping

from pydantic import Field

from crm_sync.core.spec import FieldType, Similar
from crm_sync.mapping.explain import nearest
from crm_sync.mapping.limits import Strict
from crm_sync.mapping.nodes import Path
from crm_sync.mapping.values import Part, count

_KEYS = {FieldType.PHONE, FieldType.EMAIL, FieldType.URL, FieldType.ID}

_POINTS = count(1, 100)


class SimilarModel(Strict):
    """How alike two records have to be. Each thing that is compared has points; the score is the part of the points, of
    what both records have, on which they are alike."""

    compare: dict[str, _POINTS] = Field(  # type: ignore[valid-type]
        min_length=1,
        description="Points, from 1 to 100, of each field; `first_name + last_name: 30` compares several as one text.",
    )
    link_above: Part = Field(
        default="95%",
        validate_default=True,
        description="From this score on the most alike one is linked, if it is clearly ahead of the next (by 10%).",
    )
    review_above: Part = Field(
        default="85%",
        validate_default=True,
        description="From this score on a person decides; below it, a new record is made.",
    )

    def compared(self) -> list[tuple[str, ...]]:
        """The fields of each thing that is compared."""
        return [tuple(re.split(r"\s*\+\s*", key.strip())) for key in self.compare]

    def similar(self) -> Similar:
        """As matching takes it."""
        points = (float(points) for points in self.compare.values())
        return Similar(tuple(zip(self.compared(), points, strict=True)), self.link_above, self.review_above)

    def complaints(self, types: Mapping[str, FieldType]) -> Iterator[tuple[Path, str]]:
        """What does not fit together, as (path, message). types: of the entity's fields that have a value of their own."""
        if self.review_above > self.link_above:
            yield ("review_above",), "must not be more than link_above"
        used: set[FieldType] = set()
        for key, names in zip(self.compare, self.compared(), strict=True):
            for name in names:
                if types.get(name) in (None, FieldType.JSON, FieldType.MULTIPICKLIST):
                    hint = f"{nearest(name, types)}; fields: {', '.join(types)}"
                    yield ("compare", key), f"{name} is not a field that can be compared{hint}"
                else:
                    used.add(types[name])
        if not used & _KEYS and not {FieldType.REFERENCE, FieldType.STRING} <= used:
            need = "needs a field of type phone, email, url or id, or a reference and a text: by them is looked up who may"
            yield ("compare",), f"{need} be the same"
