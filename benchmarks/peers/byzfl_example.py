"""The training that ByzFL's own documentation shows, by its own classes: three honest clients, one that is Byzantine.

Source: "Federated Learning Simulation Example" in the README of ByzFL 0.0.11, which the package carries as its
description. Run as printed there it stops: version 0.0.11 wants `store_per_client_metrics` of every client, and the
server's `update_model` is called `update_model_with_gradients`. Nothing else of the training was changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import Normalize

STEPS = 1000
MODEL = "cnn_mnist"
PIXELS = Normalize((0.1307,), (0.3081,))  # what the example does to every image
TEST_BATCH = 500  # the example's 25 give the same accuracy, but take longer


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The example, number by number.

    honest         clients that train
    attackers      clients that send what the attack says; 0 for none
    is_defended    whether the server clips, mixes nearest neighbours and takes the trimmed mean; else it averages
    batch_size     samples of each step
    alpha          Dirichlet parameter of the shards
    lr             the server's learning rate, applied to the aggregate
    momentum       weight of a client's last message in its next one, a running mean of its gradients
    decay          the server's weight decay
    clip           bound on a message's length
    f              bad clients that the server expects
    tau            the attack sends -tau times the honest mean
    """

    honest: int = 3
    attackers: int = 1
    is_defended: bool = True
    batch_size: int = 25
    alpha: float = 0.5
    lr: float = 0.1
    momentum: float = 0.9
    decay: float = 1e-4
    clip: float = 2.0
    f: int = 1
    tau: float = 3.0


class Images(TensorDataset):
    """Samples, prepared as the example does, with their labels where ByzFL's distributor looks for them."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__(PIXELS(x), y)
        self.targets = y


def split(images: Images, setting: Setting, seed: int) -> list[DataLoader]:
    """A loader for each honest client. ByzFL draws from the global random state, which its own function seeds here."""
    from byzfl import DataDistributor
    from byzfl.utils.misc import set_random_seed

    set_random_seed(seed)
    distributor = DataDistributor(
        {
            "data_distribution_name": "dirichlet_niid",
            "distribution_parameter": setting.alpha,
            "nb_honest": setting.honest,
            "data_loader": DataLoader(images, shuffle=True),
            "batch_size": setting.batch_size,
        }
    )
    return distributor.split_data()


class Federation:
    """ByzFL's clients, server and attacker, which take one step after the other.

    loaders    one for each honest client
    test       what the accuracy is measured on
    setting    the numbers of the example

    Raises ImportError without ByzFL.
    """

    def __init__(self, loaders: Sequence[DataLoader], test: Images, setting: Setting) -> None:
        from byzfl import ByzantineClient, Client, Server

        common = {"model_name": MODEL, "device": "cpu"}
        learning = {
            "loss_name": "NLLLoss",
            "LabelFlipping": False,
            "momentum": setting.momentum,
            "nb_labels": 10,
            "store_per_client_metrics": False,
        }
        optimizer = {
            "optimizer_name": "SGD",
            "learning_rate": setting.lr,
            "weight_decay": setting.decay,
            "milestones": [STEPS],
            "learning_rate_decay": 0.25,
        }
        attack = {"name": "InnerProductManipulation", "f": setting.attackers, "parameters": {"tau": setting.tau}}
        test_loader = DataLoader(test, batch_size=TEST_BATCH)
        self.clients = [Client({**common, **learning, "training_dataloader": loader}) for loader in loaders]
        self.server = Server({**common, **optimizer, **_defence(setting), "test_loader": test_loader})
        self.attacker = ByzantineClient(attack)

    def params(self) -> Tensor:
        """The server's model as one row of numbers: [dim]."""
        return self.server.get_flat_parameters().clone()

    def accuracy(self) -> float:
        """Share of the test images whose label is the first choice of the server's model."""
        with torch.no_grad():
            return self.server.compute_test_accuracy()

    def step(self) -> None:
        """The honest compute gradients, the attacker sees what they send, and the server moves its model."""
        model = self.server.get_dict_parameters()
        for client in self.clients:
            client.set_model_state(model)
        for client in self.clients:
            client.compute_gradients()
        honest = [client.get_flat_gradients_with_momentum() for client in self.clients]
        malicious = self.attacker.apply_attack(honest)
        self.server.update_model_with_gradients(honest + malicious)


def _defence(setting: Setting) -> dict[str, Any]:
    """The server's rule, as ByzFL is told of it."""
    if not setting.is_defended:
        return {"aggregator_info": {"name": "Average", "parameters": {}}, "pre_agg_list": []}
    return {
        "aggregator_info": {"name": "TrMean", "parameters": {"f": setting.f}},
        "pre_agg_list": [
            {"name": "Clipping", "parameters": {"c": setting.clip}},
            {"name": "NNM", "parameters": {"f": setting.f}},
        ],
    }
