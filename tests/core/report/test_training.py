"""What a router was made from, in a sentence."""

from flywheel_core.report.training import training_sentence


def test_the_winner_and_what_each_candidate_gains() -> None:
    figures = {
        "examples": 1_056,
        "best_single": "big",
        "candidate": "blend",
        "candidates": {
            "best_single": {"gain": 0.0, "standard_error": 0.0},
            "blend": {"gain": 0.23652, "standard_error": 0.00646},
            "labels": {"gain": -0.0104, "standard_error": 0.02},
        },
    }
    assert training_sentence(figures) == (
        "Trained on 1,056 examples: the blend of estimators decides. Gain in utility over always big"
        " in cross-validation, ± its standard error: blend +0.2365 ± 0.0065, labels -0.0104 ± 0.0200."
    )


def test_one_model_for_everything_says_why() -> None:
    figures = {
        "examples": 198,
        "best_single": "big",
        "candidate": "best_single",
        "why": "too few examples or models",
    }
    assert training_sentence(figures) == (
        "Trained on 198 examples: big answers every question (too few examples or models)."
    )


def test_a_classifier_of_labels_alone_is_compared_with_nothing() -> None:
    figures = {"examples": 3, "candidate": "labels", "labels": {"math": 1.0}}
    assert training_sentence(figures) == "Trained on 3 examples: the classifier of labels decides."


def test_unknown_figures_say_nothing() -> None:
    assert training_sentence({}) == ""
