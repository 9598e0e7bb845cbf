-- One row per data point, labelled or not, in order of `point`; all columns but `text`.
-- reads   responses, labels (labels.sql over this day's responses)
-- Outcomes are sorted as structs, that is by their first field, the model.
with points as (
    select *
    from responses
    where position = 0
),

lists as (
    select
        point,
        list_sort(
            array_agg(
                struct_pack(
                    model := model,
                    score := score,
                    failed := failed,
                    cost := cost,
                    latency_ms := cast(latency_ms as double),
                    asked := asked
                )
            )
        ) as outcomes
    from responses
    where model is not null
    group by point
)

select
    p.day,
    p.point,
    p.data_point_id,
    p.raw_file,
    p.byte_offset,
    p.source,
    p.tenant,
    p.user,
    p.received_at,
    p.timestamp,
    p.question_key,
    p.split,
    l.label,
    coalesce(l.rule, 'too_few_scores') as rule,
    l.best_model,
    l.score,
    l.margin,
    coalesce(l.n_models, 0) as n_models,
    coalesce(l.n_scored, 0) as n_scored,
    coalesce(l.n_failed, 0) as n_failed,
    coalesce(l.n_tied, 0) as n_tied,
    p.mode,
    p.sampling_rate,
    p.decision_id,
    p.served_model,
    p.router_version,
    p.predicted_model,
    p.predicted_category,
    p.confidence,
    coalesce(o.outcomes, []) as outcomes
from points as p
left join labels as l on p.point = l.example
left join lists as o on p.point = o.point
order by p.point
