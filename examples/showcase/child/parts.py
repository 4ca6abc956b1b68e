"""What the workloads are made of: for each library a function that gives a call of it, of about a millisecond.

These programs run in the environments that are compared, which hold the libraries and nothing of the tool.
"""

import numpy as np

ROWS, COLUMNS, TREES = 5000, 20, 20


def _table(rows=ROWS):
    """Return features and a target that depends on them; the same in each process."""
    generator = np.random.default_rng(0)
    features = generator.random((rows, COLUMNS))
    return features, features[:, 0] + features[:, 1] ** 2


def numpy_product():
    """Return a call of numpy's matrix product."""
    a = np.random.default_rng(1).random((256, 256))
    return lambda: a @ a


def scipy_solve():
    """Return a call of SciPy's solver of linear equations."""
    from scipy.linalg import lu_factor

    a = np.random.default_rng(2).random((256, 256))
    return lambda: lu_factor(a, check_finite=False)


def hist_gradient_boosting():
    """Return a prediction of scikit-learn's gradient boosting, whose loops are OpenMP's."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=TREES, early_stopping=False).fit(*_table(2000))
    features = _table()[0]
    return lambda: model.predict(features)


def xgboost_predict():
    """Return a prediction of XGBoost."""
    import xgboost

    features, target = _table(2000)
    model = xgboost.train({"max_depth": 6}, xgboost.DMatrix(features, target), TREES)
    data = _table()[0]
    return lambda: model.inplace_predict(data)


def lightgbm_predict():
    """Return a prediction of LightGBM."""
    import lightgbm

    features, target = _table(2000)
    model = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(features, target), TREES)
    data = _table()[0]
    return lambda: model.predict(data)


def torch_tanh():
    """Return an elementwise function of PyTorch, on its OpenMP threads."""
    import torch

    values = torch.rand(1_000_000)
    return lambda: torch.tanh(values)


PARTS = {
    "numpy": numpy_product,
    "scipy": scipy_solve,
    "sklearn": hist_gradient_boosting,
    "xgboost": xgboost_predict,
    "lightgbm": lightgbm_predict,
    "torch": torch_tanh,
}
