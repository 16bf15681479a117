"""Requests about pipelines and stages (CRM pipelines API). Not here: what they are (pipeline.py).

The options of the stage and pipeline properties are kept in step.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import Route, answer, body_of, flag_of, no_content, store_of
from crm_sync.simulators.hubspot.pipeline import Pipeline, Stage
from crm_sync.simulators.hubspot.schema import Option
from crm_sync.simulators.hubspot.store import Store
from crm_sync.simulators.hubspot.writes import PIPELINE_PROPERTIES


async def listing(request: Request) -> Response:
    _, _, pipelines = _target(request)
    return answer({"results": [p.document() for p in sorted(pipelines.values(), key=lambda p: p.order)]})


async def create(request: Request) -> Response:
    store, name, pipelines = _target(request)
    document = await body_of(request)
    label, order = _label(document), _order(document)
    if any(p.label == label for p in pipelines.values()):
        raise ApiError(409, f"A pipeline with the label '{label}' already exists.", "OBJECT_ALREADY_EXISTS")
    pipeline = Pipeline(_new_id(store), label, order, at=store.clock.now())
    for each in document.get("stages") or []:
        _add_stage(store, name, pipeline, each)
    pipelines[pipeline.id] = pipeline
    _note(store, pipeline, "CREATE")
    _sync_options(store, name)
    return answer(pipeline.document(), 201)


async def read(request: Request) -> Response:
    return answer(_pipeline(request).document())


async def update(request: Request) -> Response:
    store, name, _ = _target(request)
    pipeline = _pipeline(request)
    document = await body_of(request)
    if request.method == "PUT":
        stages = document.get("stages")
        if not isinstance(stages, list):
            raise invalid("stages is required")
        _label(document)
        _usage(request, store, name, pipeline, set(pipeline.stages) - {str(s.get("id")) for s in stages})
        kept = pipeline.stages
        pipeline.stages = {}
        for each in stages:
            _add_stage(store, name, pipeline, each, kept.get(str(each.get("id"))))
    pipeline.label = str(document.get("label", pipeline.label))
    pipeline.order = int(document.get("displayOrder", pipeline.order))
    pipeline.changed = store.clock.now()
    _note(store, pipeline, "UPDATE")
    _sync_options(store, name)
    return answer(pipeline.document())


async def delete(request: Request) -> Response:
    store, name, pipelines = _target(request)
    pipeline = _pipeline(request)
    if len(pipelines) == 1:
        raise invalid("The last pipeline cannot be deleted")
    _usage(request, store, name, pipeline, set(pipeline.stages))
    del pipelines[pipeline.id]
    _sync_options(store, name)
    return no_content()


async def stages(request: Request) -> Response:
    return answer({"results": [stage.document() for stage in _pipeline(request).sorted_stages()]})


async def create_stage(request: Request) -> Response:
    store, name, _ = _target(request)
    pipeline = _pipeline(request)
    stage = _add_stage(store, name, pipeline, await body_of(request))
    _note(store, pipeline, "UPDATE")
    _sync_options(store, name)
    return answer(stage.document(), 201)


async def read_stage(request: Request) -> Response:
    return answer(_stage(request).document())


async def update_stage(request: Request) -> Response:
    store, name, _ = _target(request)
    stage = _stage(request)
    document = await body_of(request)
    stage.label = str(document.get("label", stage.label))
    stage.order = int(document.get("displayOrder", stage.order))
    stage.metadata = {
        **stage.metadata,
        **{str(k): str(v) for k, v in (document.get("metadata") or {}).items()},
    }
    stage.changed = store.clock.now()
    _sync_options(store, name)
    return answer(stage.document())


async def delete_stage(request: Request) -> Response:
    store, name, _ = _target(request)
    pipeline, stage = _pipeline(request), _stage(request)
    _usage(request, store, name, pipeline, {stage.id}, always=True)
    del pipeline.stages[stage.id]
    _sync_options(store, name)
    return no_content()


async def audit(request: Request) -> Response:
    return answer({"results": _pipeline(request).audit})


async def stage_audit(request: Request) -> Response:
    stage = _stage(request)
    return answer({"results": [each for each in _pipeline(request).audit if each["identifier"] == stage.id]})


def routes() -> list[Route]:
    base = "/crm/v3/pipelines/{kind}"
    one, stage = base + "/{pipeline}", base + "/{pipeline}/stages/{stage}"
    return [
        Route(base, listing, methods=["GET"], name="pipelines.list"),
        Route(base, create, methods=["POST"], name="pipelines.create"),
        Route(one, read, methods=["GET"], name="pipelines.read"),
        Route(one, update, methods=["PATCH", "PUT"], name="pipelines.update"),
        Route(one, delete, methods=["DELETE"], name="pipelines.delete"),
        Route(f"{one}/audit", audit, methods=["GET"], name="pipelines.audit"),
        Route(f"{one}/stages", stages, methods=["GET"], name="pipelines.stages"),
        Route(f"{one}/stages", create_stage, methods=["POST"], name="pipelines.create-stage"),
        Route(stage, read_stage, methods=["GET"], name="pipelines.read-stage"),
        Route(stage, update_stage, methods=["PATCH", "PUT"], name="pipelines.update-stage"),
        Route(stage, delete_stage, methods=["DELETE"], name="pipelines.delete-stage"),
        Route(f"{stage}/audit", stage_audit, methods=["GET"], name="pipelines.stage-audit"),
    ]


def _target(request: Request) -> tuple[Store, str, dict[str, Pipeline]]:
    store = store_of(request)
    kind = store.kind(request.path_params["kind"])
    if kind.name not in PIPELINE_PROPERTIES:
        raise invalid(f"{kind.name} do not have pipelines")
    return store, kind.name, store.pipelines[kind.name]


def _pipeline(request: Request) -> Pipeline:
    _, name, pipelines = _target(request)
    found = pipelines.get(request.path_params["pipeline"])
    if found is None:
        raise not_found(
            f"No pipeline {request.path_params['pipeline']} of {name}",
            subCategory="PipelineError.PIPELINE_NOT_FOUND",
        )
    return found


def _stage(request: Request) -> Stage:
    found = _pipeline(request).stages.get(request.path_params["stage"])
    if found is None:
        raise not_found(
            f"No stage {request.path_params['stage']}", subCategory="PipelineError.STAGE_NOT_FOUND"
        )
    return found


def _add_stage(
    store: Store, name: str, pipeline: Pipeline, document: dict[str, Any], kept: Stage | None = None
) -> Stage:
    metadata = {str(k): str(v) for k, v in (document.get("metadata") or {}).items()}
    if name == "deals" and "probability" not in metadata:
        raise invalid("metadata.probability is required for the stages of deals")
    if "probability" in metadata:
        metadata.setdefault("isClosed", "true" if float(metadata["probability"]) in {0.0, 1.0} else "false")
    label, now = _label(document), store.clock.now()
    if any(stage.label == label for stage in pipeline.stages.values()):
        raise ApiError(409, f"A stage with the label '{label}' already exists.", "OBJECT_ALREADY_EXISTS")
    number = kept.id if kept else _new_id(store)
    stage = Stage(number, label, _order(document), metadata, kept.at if kept else now, now)
    pipeline.stages[stage.id] = stage
    return stage


def _label(document: dict[str, Any]) -> str:
    if not document.get("label"):
        raise invalid("label is required")
    return str(document["label"])


def _order(document: dict[str, Any]) -> int:
    order = document.get("displayOrder")
    if not isinstance(order, int):
        raise invalid("displayOrder is required")
    return order


def _usage(
    request: Request, store: Store, name: str, pipeline: Pipeline, gone: set[str], *, always: bool = False
) -> None:
    """Stages in use cannot go if the caller wants that checked (single stages are always checked)."""
    wanted = flag_of(request, "validateReferencesBeforeDelete") or flag_of(
        request, "validateDealStageUsagesBeforeDelete"
    )
    if not (wanted or always) or not gone:
        return
    pipeline_name, stage_name = PIPELINE_PROPERTIES[name]
    used = [
        str(r.id)
        for r in store.tables[name].live.values()
        if r.values.get(pipeline_name) == pipeline.id and r.values.get(stage_name) in gone
    ]
    if used:
        raise invalid(
            f"Stages are still in use by {len(used)} {name}",
            subCategory="PipelineError.STAGE_ID_IN_USE",
            context={"objectIds": used[:100]},
        )


def _note(store: Store, pipeline: Pipeline, action: str) -> None:
    pipeline.audit.append(
        {
            "portalId": store.portal_id,
            "identifier": pipeline.id,
            "action": action,
            "timestamp": iso(store.clock.now()),
            "fromUserId": 1,
        }
    )


def _sync_options(store: Store, name: str) -> None:
    pipeline_name, stage_name = PIPELINE_PROPERTIES[name]
    properties, pipelines = store.kinds[name].properties, store.pipelines[name].values()
    properties[pipeline_name].options = [Option(p.id, p.label, p.order) for p in pipelines]
    properties[stage_name].options = [
        Option(s.id, s.label, s.order) for p in pipelines for s in p.sorted_stages()
    ]


def _new_id(store: Store) -> str:
    store.next_pipeline_id += 1
    return str(store.next_pipeline_id)
