"""Classifiers from flat settings, as tests like to write them."""

from sksve import Training


def new(cls, backbone, **settings):
    """Make a classifier; options of `Training` and of `Backbone` stand among its own parameters."""
    from sksve.backbones import Backbone

    names = ("pooling", "target_modules", "image_size")
    how = {name: settings.pop(name) for name in names if name in settings}
    options = {name: settings.pop(name) for name in Training().get_params() if name in settings}
    training = Training(**options) if options else None
    return cls(Backbone(backbone, **how) if how else backbone, training=training, **settings)
