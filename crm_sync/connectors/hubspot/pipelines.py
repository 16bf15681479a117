"""Pipelines and stages by name: ids differ from account to account, names are what a mapping can say.

Here: the two properties of an object that hold a pipeline and a stage, and their translation. In the port a stage is its label
("Closed Won") if it belongs to the default pipeline, and "Pipeline label/Stage label" if to another; a pipeline is
its label. A stage whose name so written would not be unique crosses as its id. (developers.hubspot.com, CRM
pipelines: the default deal pipeline has the id "default"; a stage must belong to the record's pipeline.)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crm_sync.connectors.hubspot.api import Api
from crm_sync.core.errors import ErrorClass, RecordError

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class StageNames:
    """Both directions of the translation for one object. `pipeline_of`: stage id to pipeline id."""

    pipeline_property: str
    stage_property: str
    pipelines: Mapping[str, str] = field(default_factory=dict)  # id -> name
    stages: Mapping[str, str] = field(default_factory=dict)  # id -> name
    pipeline_of: Mapping[str, str] = field(default_factory=dict)

    def names(self, property_name: str) -> Mapping[str, str] | None:
        """Names by id for a property, None if it is neither a pipeline nor a stage."""
        if property_name == self.stage_property:
            return self.stages
        if property_name == self.pipeline_property:
            return self.pipelines
        return None

    def from_hubspot(self, property_name: str, value: str | None) -> str | None:
        """The name for an id; an id that is not known (a pipeline that was deleted) stays as it is."""
        names = self.names(property_name)
        return value if names is None or value is None else names.get(value, value)

    def to_id(self, property_name: str, name: str) -> str | None:
        """The id for a name; None if there is none."""
        names = self.names(property_name) or {}
        return next((found for found, label in names.items() if label == name), None)

    def to_hubspot(self, values: Mapping[str, str | None]) -> dict[str, str | None] | RecordError:
        """The values with ids instead of names. A stage brings its pipeline along; a pipeline that contradicts
        the stage, and a name that this account does not have, are refused."""
        told = dict(values)
        for name in (self.pipeline_property, self.stage_property):
            value = told.get(name)
            if value is None:
                continue
            found = self.to_id(name, value)
            if found is None:
                return _unknown(name, self.names(name) or {})
            told[name] = found
        stage, pipeline = told.get(self.stage_property), told.get(self.pipeline_property)
        if stage is not None:
            if pipeline is not None and pipeline != self.pipeline_of[stage]:
                text = (
                    f"{self.stage_property} does not belong to the pipeline given in {self.pipeline_property}"
                )
                return RecordError(
                    ErrorClass.VALIDATION, "STAGE_OF_OTHER_PIPELINE", text, (self.stage_property,)
                )
            told[self.pipeline_property] = self.pipeline_of[stage]
        return told


def _unknown(property_name: str, names: Mapping[str, str]) -> RecordError:
    known = ", ".join(sorted(names.values())[:30])
    text = f"{property_name} is not the name of one in this account; it has: {known}"
    return RecordError(ErrorClass.VALIDATION, "INVALID_OPTION", text, (property_name,))


def properties_of(object_name: str) -> tuple[str, str] | tuple[()]:
    """Names of the properties that hold a record's pipeline and stage; nothing if it has no pipelines of its own
    (what contacts and companies call pipeline is their lifecycle)."""
    if object_name == "deals":
        return "pipeline", "dealstage"
    if object_name in {"tickets", "leads"} or object_name.startswith("2-"):
        return "hs_pipeline", "hs_pipeline_stage"
    return ()


def stage_names(object_name: str, pipelines: Sequence[Mapping[str, Any]]) -> StageNames:
    """The translation for HubSpot's list of pipelines."""
    live = [pipeline for pipeline in pipelines if not pipeline.get("archived")]
    labels = {str(pipeline["id"]): str(pipeline["label"]) for pipeline in live}
    home = _default(live)
    stages: dict[str, str] = {}
    pipeline_of: dict[str, str] = {}
    for pipeline in live:
        for stage in pipeline.get("stages") or ():
            if stage.get("archived"):
                continue
            stage_id, label = str(stage["id"]), str(stage["label"])
            pipeline_of[stage_id] = str(pipeline["id"])
            stages[stage_id] = label if pipeline["id"] == home else f"{pipeline['label']}/{label}"
    pipeline_property, stage_property = properties_of(object_name) or ("", "")
    return StageNames(pipeline_property, stage_property, _unique(labels), _unique(stages), pipeline_of)


def _default(pipelines: Iterable[Mapping[str, Any]]) -> str | None:
    def rank(pipeline: Mapping[str, Any]) -> tuple[bool, int, str]:
        return (pipeline["id"] != DEFAULT, int(pipeline.get("displayOrder") or 0), str(pipeline["id"]))

    first = min(pipelines, key=rank, default=None)
    return None if first is None else str(first["id"])


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    count = Counter(names.values())
    return {found: name if count[name] == 1 else found for found, name in names.items()}


class Pipelines:
    """The account's pipelines, asked for once an object."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, StageNames] = {}

    def of(self, object_name: str) -> StageNames:
        if object_name not in self._known:
            path = self._api.paths.pipelines(object_name)
            answer = self._api.remembered(path, lambda: self._api.get(path, "pipelines"))
            self._known[object_name] = stage_names(object_name, answer.get("results") or [])
        return self._known[object_name]
