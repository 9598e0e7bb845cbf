-- One row a model that has a response or a score on the day, the best first.
-- reads   responses, training_examples, models, the_day
-- Percentiles are by rank: the smallest latency that at least 50 % or 95 % of the day's answers do not exceed.
with counted as (
    select
        model,
        count(*) as responses,
        count(case when failed then 1 end) as failed,
        count(score) as scored,
        count(case when not failed and score is null then 1 end) as missing_scores,
        sum(cast(score as decimal(18, 12))) as score_sum,
        sum(cast(case when cost > 1e12 then 1e12 else cost end as decimal(38, 12))) as cost_sum,
        count(cost) as costed
    from responses
    where model is not null
    group by model
),

ordered as (
    select
        model,
        latency_ms,
        row_number() over (partition by model order by latency_ms) as place,
        count(*) over (partition by model) as answers
    from responses
    where model is not null and not failed and latency_ms is not null
),

latencies as (
    select
        model,
        min(case when place * 100 >= answers * 50 then latency_ms end) as p50,
        min(case when place * 100 >= answers * 95 then latency_ms end) as p95
    from ordered
    group by model
),

contests as (
    select
        r.model,
        count(*) as contests,
        count(case when e.best_model = r.model then 1 end) as wins
    from responses as r
    inner join training_examples as e on r.point = e.point
    where not r.failed and r.score is not null and e.n_scored >= 2
    group by r.model
)

select
    d.day,
    row_number() over (
        order by case when c.scored > 0 then cast(c.score_sum as double) / c.scored end desc nulls last, c.model
    ) as place,
    c.model,
    m.category,
    c.responses,
    c.scored,
    c.failed,
    c.missing_scores,
    case when c.scored > 0 then cast(c.score_sum as double) / c.scored end as mean_score,
    coalesce(w.contests, 0) as contests,
    coalesce(w.wins, 0) as wins,
    case when w.contests > 0 then cast(w.wins as double) / w.contests end as win_rate,
    cast(c.failed as double) / c.responses as failure_rate,
    l.p50 as latency_p50_ms,
    l.p95 as latency_p95_ms,
    cast(c.cost_sum as double) as cost,
    case when c.costed > 0 then cast(c.cost_sum as double) / c.costed end as mean_cost
from counted as c
cross join the_day as d
left join models as m on c.model = m.model
left join latencies as l on c.model = l.model
left join contests as w on c.model = w.model
order by place
