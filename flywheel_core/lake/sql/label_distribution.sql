-- One row per label: every category of the configuration, and every label that an example has.
-- reads   training_examples, models, the_day
-- Means are computed from sums of exact decimals, so that the order of rows does not change the last digit.
with names as (
    select category as label
    from models
    where category is not null
    union
    select label
    from training_examples
    where label is not null
),

counted as (
    select
        label,
        count(*) as examples,
        count(case when split = 'train' then 1 end) as train,
        count(case when split = 'validation' then 1 end) as validation,
        count(case when split = 'test' then 1 end) as test,
        cast(sum(cast(score as decimal(18, 12))) as double) / count(*) as mean_score,
        cast(sum(cast(margin as decimal(18, 12))) as double) / count(*) as mean_margin
    from training_examples
    where label is not null
    group by label
),

total as (
    select count(label) as labelled
    from training_examples
)

select
    d.day,
    n.label,
    coalesce(c.examples, 0) as examples,
    case when t.labelled > 0 then cast(coalesce(c.examples, 0) as double) / t.labelled end as share,
    coalesce(c.train, 0) as train,
    coalesce(c.validation, 0) as validation,
    coalesce(c.test, 0) as test,
    c.mean_score,
    c.mean_margin
from names as n
cross join the_day as d
cross join total as t
left join counted as c on n.label = c.label
order by n.label
