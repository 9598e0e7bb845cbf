-- The examples $first to $last of a dataset, in order of their first data points; all columns but `text`. Only a part at a
-- time, because the lists gathered for it must fit into memory. Outcomes are sorted as structs, that is by their first field, the model.
-- reads   window_examples, members, outcomes, labels, selection (example, copies, left_out, for_scores), settings
with points as (
    select
        example,
        count(*) as repeats,
        max(received_at) as last_received_at,
        list_sort(array_agg(data_point_id)) as data_point_ids
    from members
    where example between $first and $last
    group by example
),

lists as (
    select
        example,
        list_sort(
            array_agg(
                struct_pack(
                    model := model,
                    score := score,
                    failed := failed,
                    cost := cost,
                    latency_ms := latency_ms,
                    asked := asked,
                    times := times,
                    failures := failures,
                    scored := scored
                )
            )
        ) as outcomes
    from outcomes
    where example between $first and $last
    group by example
)

select
    w.data_point_id as id,
    w.day,
    l.label,
    coalesce(l.rule, 'too_few_scores') as rule,
    l.best_model,
    l.score,
    l.margin,
    w.split,
    least(p.repeats, t.max_weight) as weight,
    s.copies,
    s.left_out,
    s.for_scores,
    w.question_key,
    coalesce(l.n_models, 0) as n_models,
    coalesce(l.n_scored, 0) as n_scored,
    coalesce(l.n_failed, 0) as n_failed,
    coalesce(l.n_tied, 0) as n_tied,
    w.received_at,
    p.last_received_at,
    w.source,
    w.tenant,
    p.data_point_ids,
    coalesce(o.outcomes, []) as outcomes
from members as m
inner join window_examples as w on m.day = w.day and m.point = w.point
inner join points as p on m.example = p.example
inner join selection as s on m.example = s.example
cross join settings as t
left join labels as l on m.example = l.example
left join lists as o on m.example = o.example
where m.repeat = 1 and m.example between $first and $last
order by m.example
