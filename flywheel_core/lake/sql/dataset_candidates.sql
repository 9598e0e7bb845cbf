-- What examples are selected from: the label and groups of each, and a random order that depends only on seed and question.
-- reads   window_examples, members, labels
select
    m.example,
    l.label,
    w.split,
    w.source,
    w.tenant,
    sha256(cast($seed as varchar) || ':' || w.question_key) as lot,
    case when l.label is null then 0 else 1 end as copies,
    case when l.label is null then 'unlabelled' end as left_out,
    true as for_scores
from members as m
inner join window_examples as w on m.day = w.day and m.point = w.point
left join labels as l on m.example = l.example
where m.repeat = 1
order by m.example
