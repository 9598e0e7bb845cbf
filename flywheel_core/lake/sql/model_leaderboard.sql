-- One row per model that has a response or a score on the day, the best first.
-- reads   responses, training_examples, models, the_day
-- A response of a model that was asked with probability `asked` stands for 1 / asked questions in the mean score (`asked`
-- counts as at least 0.01). Otherwise a model that the router asks only what it is good at would lead.
-- Percentiles are by rank: the smallest latency that at least 50 % or 95 % of the day's answers do not exceed.
-- Costs above 1e12 count as 1e12.
-- A tie that is led by a model that the configuration does not know is nobody's win: the name may have decided it.
with known as (
    select
        *,
        1.0 / greatest(coalesce(cast(asked as double), 1.0), 0.01) as stands_for
    from responses
    where model is not null
),

counted as (
    select
        model,
        count(*) as responses,
        count(case when failed then 1 end) as failed,
        count(score) as scored,
        count(case when not failed and score is null then 1 end) as missing_scores,
        sum(cast(score as decimal(18, 12))) as score_sum,
        sum(cast(score * stands_for as decimal(38, 12))) as stood_sum,
        sum(cast(case when score is not null then stands_for end as decimal(38, 12))) as stood,
        max(stands_for) as most,
        sum(cast(case when cost > 1e12 then 1e12 else cost end as decimal(38, 12))) as cost_sum,
        count(cost) as costed
    from known
    group by model
),

averaged as (
    select
        *,
        case
            when scored > 0 and most > 1 then cast(stood_sum as double) / cast(stood as double)
            when scored > 0 then cast(score_sum as double) / scored
        end as mean_score
    from counted
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
        count(
            case
                when e.best_model = r.model and (m.model is not null or e.n_tied <= 1) then 1
            end
        ) as wins
    from responses as r
    inner join training_examples as e on r.point = e.point
    left join models as m on r.model = m.model
    where not r.failed and r.score is not null and e.n_scored >= 2
    group by r.model
)

select
    d.day,
    row_number() over (order by c.mean_score desc nulls last, c.model) as place,
    c.model,
    m.category,
    c.responses,
    c.scored,
    c.failed,
    c.missing_scores,
    c.mean_score,
    coalesce(w.contests, 0) as contests,
    coalesce(w.wins, 0) as wins,
    case when w.contests > 0 then cast(w.wins as double) / w.contests end as win_rate,
    cast(c.failed as double) / c.responses as failure_rate,
    l.p50 as latency_p50_ms,
    l.p95 as latency_p95_ms,
    cast(c.cost_sum as double) as cost,
    case when c.costed > 0 then cast(c.cost_sum as double) / c.costed end as mean_cost
from averaged as c
cross join the_day as d
left join models as m on c.model = m.model
left join latencies as l on c.model = l.model
left join contests as w on c.model = w.model
order by place
