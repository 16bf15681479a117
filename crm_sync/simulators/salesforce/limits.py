"""What the API says about itself: versions, resources, limits, record counts."""

from crm_sync.simulators.salesforce.org import VERSIONS
from crm_sync.simulators.salesforce.web import Answer, Call


def versions(_call: Call) -> Answer:
    """GET /services/data: every version, oldest first; no session needed."""
    return Answer(
        body=[
            {"label": _label(number), "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
            for number in VERSIONS
        ]
    )


def _label(number: int) -> str:
    """v68 is Winter '27, and there are three releases a year; v66 is Spring '26, v67 Summer '26."""
    years, season = divmod(number - 66, 3)
    name = ("Spring", "Summer", "Winter")[season]
    return f"{name} '{26 + years + (name == 'Winter')}"


def resources(call: Call) -> Answer:
    """GET /services/data/vXX.X."""
    base = f"/services/data/v{call.version}"
    names = ("sobjects", "query", "queryAll", "search", "limits", "composite", "jobs", "recent")
    return Answer(body={name: f"{base}/{name}" for name in names} | {"identity": f"{call.org.base_url}/id"})


def limits(call: Call) -> Answer:
    """GET /limits."""
    s, org = call.org.settings, call.org
    queries = sum(1 for job in org.jobs.all.values() if job.kind == "query")
    batches = sum(max(1, job.processed // 10_000) for job in org.jobs.all.values() if job.kind == "ingest")

    def of(most: int, used: int = 0) -> dict[str, int]:
        return {"Max": most, "Remaining": max(0, most - used)}

    return Answer(
        body={
            "ConcurrentAsyncGetReportInstances": of(200),
            "DailyApiRequests": of(s.daily_api_requests, org.usage.calls),
            "DailyAsyncApexExecutions": of(250_000),
            "DailyBulkApiBatches": of(s.daily_bulk_batches, batches),
            "DailyBulkV2QueryFileStorageMB": of(976_562),
            "DailyBulkV2QueryJobs": of(s.daily_bulk_query_jobs, queries),
            "DailyDeliveredPlatformEvents": of(25_000),
            "DailyStreamingApiEvents": of(200_000),
            "DataStorageMB": of(10_240, sum(len(t.rows) for t in org.store.tables.values()) * 2 // 1024),
            "FileStorageMB": of(10_240),
            "HourlyPublishedPlatformEvents": of(250_000),
            "SingleEmail": of(5_000),
        }
    )


def record_count(call: Call) -> Answer:
    """GET /limits/recordCount?sObjects=A,B."""
    wanted = [n for n in call.query.get("sObjects", "").split(",") if n] or list(call.org.store.tables)
    counts = [
        {"count": len(call.org.store.tables[o.name].rows), "name": o.name}
        for o in (call.org.store.schema.find(name) for name in wanted)
        if o is not None
    ]
    return Answer(body={"sObjects": counts})
