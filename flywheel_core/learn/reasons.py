"""The reasons for which a router chooses a model: their names, and their meanings in words.

Importing this module loads none of the libraries that routers need.
"""

ROUTER, THIN, UNFAMILIAR, SINGLE = "router", "thin_evidence", "unfamiliar", "best_single"
REASONS = {
    ROUTER: "the router chose the model",
    THIN: "too few similar training questions speak for another model, so it is the best single one",
    UNFAMILIAR: "the text is unlike the training data, so it is the best single model",
    SINGLE: "no router beats the best single model",
}
