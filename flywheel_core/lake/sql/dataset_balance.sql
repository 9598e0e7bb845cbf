-- How often each training example is written to its file, so that all labels are equally frequent.
-- reads   selection
-- $upwards: bring labels to the size of the largest one; otherwise to that of the smallest.
with drawn as (
    select
        example,
        row_number() over (partition by label order by lot, example) as place,
        count(*) over (partition by label) as own
    from selection
    where copies > 0 and split = 'train'
),

aim as (
    select case when $upwards then max(own) else min(own) end as target
    from drawn
)

select
    d.example,
    cast(floor(a.target / d.own) as bigint) + case when d.place <= a.target % d.own then 1 else 0 end as copies
from drawn as d
cross join aim as a
