"""Small networks as pure functions of flat parameters, stacked over clients."""

from labsec.models.building import build
from labsec.models.convolutional import convnet, lenet, sequence_net
from labsec.models.dense import mlp
from labsec.models.joint import join, joint, parts_of
from labsec.models.model import ACTIVATIONS, Activation, Layers, Model, Slope
from labsec.models.texts import embedding, fixed_positions, gru, transformer

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Layers",
    "Model",
    "Slope",
    "build",
    "convnet",
    "embedding",
    "fixed_positions",
    "gru",
    "join",
    "joint",
    "lenet",
    "mlp",
    "parts_of",
    "sequence_net",
    "transformer",
]
