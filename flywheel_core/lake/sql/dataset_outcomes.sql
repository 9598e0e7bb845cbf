-- What each model did on an example, over all its repeats: means of the scores, costs and latencies that are not null.
-- reads   window_examples, members
-- gives   one row per example and model, sorted by them: score, failed (all its responses failed), cost, latency_ms, asked,
--         times (responses), failures, scored (responses with a score)
-- asked is the probability with which the model was asked: the harmonic mean, so that its inverse is the mean number of
-- questions that a response stands for. A missing probability counts as 1, one below 0.01 as 0.01.
-- Means are computed from sums of exact decimals, so that the order of rows does not change them, and are rounded, so that
-- the mean of 0.7, 0.8 and 0.9 is 0.8 and not slightly less. The mean of equal values is that value, unrounded.
-- Costs and latencies above 1e12 count as 1e12.
with flat as (
    select
        day,
        point,
        unnest(outcomes) as outcome
    from window_examples
),

responses as (
    select
        m.example,
        f.outcome.model as model,
        f.outcome.score as score,
        f.outcome.failed as failed,
        case when f.outcome.cost > 1e12 then 1e12 else f.outcome.cost end as cost,
        case when f.outcome.latency_ms > 1e12 then 1e12 else f.outcome.latency_ms end as latency_ms,
        greatest(coalesce(f.outcome.asked, 1.0), 0.01) as asked
    from flat as f
    inner join members as m on f.day = m.day and f.point = m.point
)

select
    example,
    model,
    case
        when min(score) = max(score) then min(score)
        else round(cast(sum(cast(score as decimal(18, 12))) as double) / count(score), 12)
    end as score,
    count(case when failed then 1 end) = count(*) as failed,
    case
        when min(cost) = max(cost) then min(cost)
        else round(cast(sum(cast(cost as decimal(38, 12))) as double) / count(cost), 12)
    end as cost,
    case
        when min(latency_ms) = max(latency_ms) then min(latency_ms)
        else round(cast(sum(cast(latency_ms as decimal(38, 12))) as double) / count(latency_ms), 12)
    end as latency_ms,
    case
        when min(asked) = max(asked) then min(asked)
        else round(count(*) / cast(sum(cast(1.0 / asked as decimal(38, 12))) as double), 12)
    end as asked,
    count(*) as times,
    count(case when failed then 1 end) as failures,
    count(score) as scored
from responses
group by example, model
order by example, model
