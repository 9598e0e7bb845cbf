"""The type of arrays of floats, apart from the estimators: a module that only holds arrays need not import scikit-learn."""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
