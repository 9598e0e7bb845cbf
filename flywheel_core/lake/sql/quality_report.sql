-- The quality report in long form: one row per figure (section, metric, key, value). `key` is empty for single figures.
-- reads   responses, rejects, training_examples, label_distribution, model_leaderboard, ingest_counts, models,
--         settings, the_day
with labelled as (
    select score, margin
    from training_examples
    where label is not null
),

margins as (
    select
        margin,
        row_number() over (order by margin) as place,
        count(*) over () as total
    from labelled
),

bins as (
    select least(cast(floor(score * 10) as integer), 9) as bin
    from responses
    where score is not null
),

ten as (
    select cast(place as integer) as bin
    from unnest([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) as numbers (place)
),

figures as (
    select 1 as section_place, 'lines' as section, metric, '' as key, place, cast(value as double) as value
    from ingest_counts

    union all
    select 2, 'rejects', 'rejected_by_code', code, 0, count(*)
    from rejects
    group by code

    union all
    select 3, 'coverage', metric, '', place, value
    from (
        select 1 as place, 'points' as metric, cast(count(*) as double) as value from training_examples
        union all
        select 2, 'points_without_response', count(case when n_models = 0 then 1 end) from training_examples
        union all
        select 3, 'labelled', count(label) from training_examples
        union all
        select 4, 'unlabelled', count(*) - count(label) from training_examples
        union all
        select 5, 'labelled_share', case when count(*) > 0 then cast(count(label) as double) / count(*) end
        from training_examples
        union all
        select 6, 'responses', count(model) from responses
        union all
        select 7, 'failed_responses', count(case when failed then 1 end) from responses
        union all
        select 8, 'missing_scores', count(case when not failed and score is null then 1 end) from responses
    ) as parts

    union all
    select 4, 'rules', 'rule', rule, 0, count(*)
    from training_examples
    group by rule

    union all
    select 5, 'labels', 'label_count', label, 0, examples
    from label_distribution

    union all
    select 5, 'labels', 'label_mean_score', label, 1, mean_score
    from label_distribution

    union all
    select 6, 'scores', metric, '', place, value
    from (
        select
            1 as place,
            'score_mean' as metric,
            case
                when count(*) > 0 then cast(sum(cast(score as decimal(18, 12))) as double) / count(*)
            end as value
        from labelled
        union all
        select 2, 'score_min', min(score) from labelled
        union all
        select 3, 'score_max', max(score) from labelled
    ) as parts

    union all
    select
        7,
        'score_histogram',
        'score_histogram',
        case
            when t.bin = 9 then '0.9-1.0'
            else '0.' || cast(t.bin as varchar) || '-0.' || cast(t.bin + 1 as varchar)
        end,
        t.bin,
        count(b.bin)
    from ten as t
    left join bins as b on t.bin = b.bin
    group by t.bin

    union all
    select 8, 'ties', metric, '', place, value
    from (
        select 1 as place, 'ties' as metric, cast(count(case when rule like 'tie%' then 1 end) as double) as value
        from training_examples
        union all
        select
            2,
            'tie_share',
            case when count(label) > 0 then cast(count(case when rule like 'tie%' then 1 end) as double) / count(label) end
        from training_examples
        union all
        select
            3,
            'margin_mean',
            case when count(*) > 0 then cast(sum(cast(margin as decimal(18, 12))) as double) / count(*) end
        from labelled
        union all
        select 4, 'margin_p50', min(case when place * 100 >= total * 50 then margin end) from margins
    ) as parts

    union all
    select 9, 'unknown_models', 'unknown_model_responses', model, 0, responses
    from model_leaderboard
    where category is null

    union all
    select 10, 'spend', metric, key, place, value
    from (
        select 1 as place, 'model_cost' as metric, '' as key, coalesce(sum(cast(cost as decimal(38, 12))), 0) as value
        from model_leaderboard
        union all
        select
            2,
            'scorer_cost',
            '',
            count(
                case
                    when r.score is not null then 1
                    when not r.failed and r.score_reason not in ('score_null', 'score_absent') then 1
                end
            ) * max(s.score_cost)
        from settings as s
        left join responses as r on true
        union all
        select 3, 'unpriced_answers', '', count(case when not failed and cost is null then 1 end)
        from responses
        where model is not null
        union all
        select 4, 'model_cost_by_model', model, cost
        from model_leaderboard
    ) as parts
)

select
    d.day,
    f.section,
    f.metric,
    f.key,
    f.value
from figures as f
cross join the_day as d
order by f.section_place, f.place, f.metric, f.key
