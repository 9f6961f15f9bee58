"""The private parts of sksve that tests replace or look into, in one place.

Whatever a public name reaches is tested through that; here is what a test must put another thing in
the place of (pip, a clock, a budget), and arithmetic that a public call would hide.
"""
# ruff: noqa: F401

import sksve._registry as registry
import sksve.adapters._decompose as svd_module
import sksve.backbones._fetch as fetch
import sksve.backbones._resolve as resolve
import sksve.training._forecast as forecast
import sksve.training._frozen as frozen
import sksve.training._inference as inference
import sksve.training._module as formulas
from sksve._forks import lock_of
from sksve.backbones._tiny import TINY_FAMILIES, TINY_VISION_FAMILIES
from sksve.datasets._frame_pickle import read_pickled_frame
from sksve.estimators._facts import Facts
from sksve.metrics._groups import equality_tests
from sksve.metrics._inputs import Rows
from sksve.training._data import BUCKET, MemberBatches, SharedBatches, bucketed_epoch
from sksve.training._fit import build_module
from sksve.training._muon import CoreMuon
from sksve.training._run import member_streams, shared_streams

KNOWN, Carrier, KnownBackbone = fetch.KNOWN, fetch.Carrier, fetch.KnownBackbone
cache_folder, sha256_of = registry.cache_folder, registry.sha256_of
fetch_package = registry.fetch_package


def settings_of(clf, facts):
    """What a classifier's "auto" stands for where these are the facts."""
    return clf._resolve_settings(facts, 0)
