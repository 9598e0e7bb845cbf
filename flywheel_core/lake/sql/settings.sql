-- One row with the settings for labels, weights and costs, as `engine.py` gives them. A tie preference that is not set is null.
create table settings as
select
    cast($min_score as double) as min_score,
    cast($tie_tolerance as double) as tie_tolerance,
    cast($preference_1 as varchar) as preference_1,
    cast($preference_2 as varchar) as preference_2,
    cast($preference_3 as varchar) as preference_3,
    cast($max_weight as bigint) as max_weight,
    cast($score_cost as double) as score_cost
