"""A stand-in for the model and scoring services, so that everything runs offline.

**All of this is simulated.** No language model is called and none was: the thirteen "models" (`qwen-max` and
`qwen-{math,code,medicine,writing}-{32b,7b,3b}`) share nothing with the real ones but their names. What is
invented:

- *questions*: written by the generators in `simulation/bank/`, with answers that are computed or listed there;
- *answers*: assembled from the question's known answer and key points; whether a model gets it right is a seeded draw
  from a table of strengths by domain and size (`simulation/models.py`), chosen so that learning to route pays;
- *scores*: rules over the text of question and answer (`simulation/scoring.py`), not a judgement by anyone;
- *latency, token counts and cost*: formulas of plausible size, not measurements.

So figures measured against the simulation show that the machinery works, never how good a real model or
router is. With `--recorded FILE` the answers and scores come from that file instead; latency stays simulated
where the file has none. The medical questions and answers are test data, not medical advice.
"""
