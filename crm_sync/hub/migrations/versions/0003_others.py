"""What others use of a window is known from its growth, before the window is full of it."""

from importlib import import_module

from alembic import op

revision = "0003"
down_revision = "0002"

HEAR_CALLS = r"""
-- Note what an answer told of a window whose request left `age` seconds ago. What was used then and is not ours, others
-- used. even: the part of what is allowed that is given out as turns.
--
-- A window that others began to use two seconds ago holds a fifth of what it is going to hold. So others' calls are kept
-- by the quarter of a second, as ours are: what is seen beyond those of them that are still in the window is new. The
-- first that is seen is thought to be spread evenly over the window. Room is made for the most of: what is seen; what the
-- last three tenths or more, less a few calls which are noise, would make of a whole window; and what it takes that,
-- where too much was used a moment ago, the window is not full before that leaves it.
-- Where less is left than ought to be, so many turns are left out, once a second.
create function sync.hear_calls(c text, b text, told int, rest int, seconds float8, age float8, even float8 default 0.97)
    returns void language plpgsql as $$
declare
    r sync.budget; ring real[]; n int; latest int; t float8; k bigint; passed bigint; ours float8 := 0; seen float8;
    known float8 := 0; fresh float8 := 0; used float8 := 0; keep float8; stays float8; theirs_next float8; leave float8;
    short boolean;
begin
    select * into r from sync.budget where connection = c and name = b for no key update;
    if not found then return; end if;
    t := 4 * (extract(epoch from clock_timestamp() - timestamptz '2026-01-01Z') - age);
    k := floor(t);
    n := least(greatest(ceil(4 * seconds), 1), 127);
    latest := greatest(0.3 * n, 1);
    for i in greatest(floor(t - 4 * seconds)::bigint, r.tick - 127) .. least(k, r.tick) loop
        ours := ours + r.counts[1 + i % 128] * (least(i + 1, t) - greatest(i, t - 4 * seconds));
    end loop;
    seen := greatest(told - rest - ours, 0);
    if seen < told * 0.05 then seen := greatest(seen - told * 0.02, 0); end if;  -- rather a call under way than theirs
    passed := k - r.theirs_tick;
    ring := r.theirs;
    leave := r.others;
    if passed is null or passed >= n or passed < -2400 then  -- nothing is known, or the clock was set back
        ring := array_fill((seen / n)::real, array[128]);
        passed := null;
    elsif passed >= 0 then
        for i in r.theirs_tick + 1 .. k loop ring[1 + i % 128] := 0; end loop;
        for i in k - n .. k loop
            known := known + ring[1 + i % 128] * case when i = k - n then k + 1 - t else 1 end;
        end loop;
        if seen >= known then
            for i in least(r.theirs_tick + 1, k) .. k loop
                ring[1 + i % 128] := ring[1 + i % 128] + (seen - known) / greatest(passed, 1);
            end loop;
        end if;
        -- What was thought wrongly would come again with each window: it is forgotten in little more than one.
        keep := (1 - 1 / (1.25 * n)) ^ passed;
        for i in k - n + 1 .. k loop
            ring[1 + i % 128] := round(1000 * (ring[1 + i % 128] * keep * case when seen < known then seen / known else 1 end
                + seen / n * (1 - keep))) / 1000;  -- no number becomes too small for its type
        end loop;
    end if;
    if passed is null or passed >= 0 then  -- an answer to an older request tells nothing new
        theirs_next := seen;
        for i in reverse k .. k - n + 1 loop
            fresh := fresh + ring[1 + i % 128];
            if k - i + 1 >= latest then
                theirs_next := greatest(theirs_next, (fresh - told * 0.03) * n / (k - i + 1));
            end if;
        end loop;
        theirs_next := least(theirs_next, told);
        leave := theirs_next;
        for i in reverse k .. k - n + 1 loop
            stays := seconds - (t - i) / 4;  -- so long all that was used from i on is counted
            exit when stays < seconds / 10;
            used := used + ring[1 + i % 128] + case when i > r.tick or i <= r.tick - 128 then 0
                                                    else r.counts[1 + i % 128] * least(t - i, 1) end;
            leave := greatest(leave, even * told + theirs_next - (told * 0.99 - used) * seconds / stays);
        end loop;
        leave := least(leave, told);
        if passed is not null then
            leave := round(50 * (r.others + leave)) / 100;  -- half way only: single answers differ by a call or two
        end if;
    end if;
    short := rest < told * 0.015 and r.pause_until < clock_timestamp() - interval '1 second';
    update sync.budget set allowed = told, left_over = rest, heard_at = clock_timestamp(),
        others = leave, theirs = ring, theirs_tick = case when passed is null then k else greatest(r.theirs_tick, k) end,
        free_at = case when short then greatest(free_at, clock_timestamp())
                       + greatest(told * 0.015 - rest, 0) * seconds / told * interval '1 second' else free_at end,
        pause_until = case when short then clock_timestamp() else pause_until end
        where connection = c and name = b;
end $$;
"""


def upgrade() -> None:
    op.execute(
        "alter table sync.budget add theirs real[] not null default array_fill(0::real, array[128]), add theirs_tick bigint"
    )
    op.execute(
        "comment on column sync.budget.theirs is 'Calls of others in the last 128 quarters of a second, as far as answers"
        " tell, a ring; theirs_tick is the newest.'"
    )
    op.execute("comment on column sync.budget.others is 'Calls of a window that are left to others.'")
    op.execute("drop function sync.hear_calls")
    op.execute(HEAR_CALLS)


def downgrade() -> None:
    for name in ("book_calls", "take_day", "hear_calls"):
        op.execute(f"drop function sync.{name}")
    op.execute("alter table sync.budget drop theirs, drop theirs_tick")
    op.execute(import_module("crm_sync.hub.migrations.versions.0001_foundation").LIMITS)
