-- Which data points of the window belong to which example: a data point counts once, repeats of a question are merged.
-- reads   window_examples (the training_examples of all days of the window)
-- gives   one row per data point that counts: example (0, 1, ... in order of the questions' first points), repeat (1 for
--         the first point), day, point, data_point_id, received_at; in order of example
with arrivals as (
    select
        day,
        point,
        data_point_id,
        received_at,
        question_key,
        row_number() over (partition by data_point_id order by day, point) as arrival
    from window_examples
),

repeats as (
    select
        day,
        point,
        data_point_id,
        received_at,
        question_key,
        row_number() over (partition by question_key order by day, point) as repeat
    from arrivals
    where arrival = 1
),

firsts as (
    select
        question_key,
        row_number() over (order by day, point) - 1 as example
    from repeats
    where repeat = 1
)

select
    f.example,
    r.repeat,
    r.day,
    r.point,
    r.data_point_id,
    r.received_at
from repeats as r
inner join firsts as f on r.question_key = f.question_key
order by f.example, r.repeat
