-- The label rules, for the examples of a day and for the merged examples of a dataset alike.
--
-- reads   outcomes (example, model, score, failed, cost, latency_ms), models, settings
-- gives   one row per example that has an outcome, in order of example:
--         example, rule, label, best_model, score, margin, n_models, n_scored, n_failed, n_tied
-- Other rules need a new `FORMAT` in `dataset.py`: otherwise a dataset of the same inputs and settings is not made again.
--
-- Rules; the first that applies decides:
--   too_few_scores     fewer than two models have a score            no label
--   below_min_score    the best score is below min_score             no label
--   unknown_model      the best model has no category                no label
--   single_best        no other model is tied with the best          label
--   tie_cheaper, tie_faster, tie_declared
--                      the preference that put the best before the next of the tied models    label
-- Tied are the models whose score is within tie_tolerance of the highest and not below min_score, or equal to the highest.
-- Where one of them has no cost, cheaper is passed over, and faster without a latency. If an unknown cost counted as the
-- highest, the model that answers users by streams without token counts would lose every tie.
with counted as (
    select
        example,
        count(model) as n_models,
        count(case when failed then 1 end) as n_failed,
        count(case when not failed then score end) as n_scored,
        max(case when not failed then score end) as top_score
    from outcomes
    group by example
),

scored as (
    select
        o.example,
        o.model,
        o.score,
        c.top_score,
        m.category,
        coalesce(m.declared, 1000000) as declared,
        cast(o.cost as double) as cost,
        cast(o.latency_ms as double) as latency,
        c.top_score - o.score <= s.tie_tolerance + 1e-9
        and (o.score >= s.min_score or o.score = c.top_score) as is_tied
    from outcomes as o
    inner join counted as c on o.example = c.example
    cross join settings as s
    left join models as m on o.model = m.model
    where not o.failed and o.score is not null
),

comparable as (
    select
        * exclude (cost, latency),
        case when count(cost) over tied = count(*) over tied then cost else 0 end as cost,
        case when count(latency) over tied = count(*) over tied then latency else 0 end as latency
    from scored
    where is_tied
    window tied as (partition by example)
),

keyed as (
    select
        x.*,
        case s.preference_1 when 'cheaper' then x.cost when 'faster' then x.latency else x.declared end as key_1,
        case s.preference_2 when 'cheaper' then x.cost when 'faster' then x.latency else x.declared end as key_2,
        case s.preference_3 when 'cheaper' then x.cost when 'faster' then x.latency else x.declared end as key_3
    from comparable as x
    cross join settings as s
),

placed as (
    select
        *,
        row_number() over (partition by example order by key_1, key_2, key_3, declared, model) as place
    from keyed
),

best as (
    select
        a.example,
        a.model as best_model,
        a.category,
        a.score,
        case
            when b.model is null then 'single_best'
            when a.key_1 < b.key_1 then 'tie_' || s.preference_1
            when a.key_2 < b.key_2 and s.preference_2 is not null then 'tie_' || s.preference_2
            when a.key_3 < b.key_3 and s.preference_3 is not null then 'tie_' || s.preference_3
            else 'tie_declared'
        end as won_by
    from placed as a
    cross join settings as s
    left join placed as b on a.example = b.example and b.place = 2
    where a.place = 1
),

spread as (
    select
        example,
        count(case when is_tied then 1 end) as n_tied,
        count(case when score = top_score then 1 end) as n_top,
        max(case when score < top_score then score end) as next_score
    from scored
    group by example
),

ruled as (
    select
        c.example,
        c.n_models,
        c.n_scored,
        c.n_failed,
        coalesce(p.n_tied, 0) as n_tied,
        b.best_model,
        b.score,
        b.category,
        case when p.n_top > 1 then 0.0 else c.top_score - p.next_score end as margin,
        case
            when c.n_scored < 2 then 'too_few_scores'
            when c.top_score < s.min_score then 'below_min_score'
            when b.category is null then 'unknown_model'
            else b.won_by
        end as rule
    from counted as c
    cross join settings as s
    left join best as b on c.example = b.example
    left join spread as p on c.example = p.example
)

select
    example,
    rule,
    case when rule not in ('too_few_scores', 'below_min_score', 'unknown_model') then category end as label,
    best_model,
    score,
    cast(margin as double) as margin,
    n_models,
    n_scored,
    n_failed,
    n_tied
from ruled
order by example
