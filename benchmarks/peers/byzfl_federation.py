"""The same federation by ByzFL's own clients and server; the calls are those of its FedAvg training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from torch import Tensor, nn
from torch.utils.data import DataLoader

MISSING = "ByzFL is not installed (`pip install byzfl` adds it): not measured"


def is_installed() -> bool:
    """Whether ByzFL can be measured here."""
    return find_spec("byzfl") is not None


def byzfl_round(
    network: Callable[[], nn.Module], clients: Sequence[DataLoader], *, steps: int, lr: float, classes: int
) -> Callable[[], Tensor]:
    """A function that runs one round of FedAvg and returns the flat parameters after it.

    ByzFL makes models by name from its own module, so the network is put there first. Raises ImportError without ByzFL.
    """
    from byzfl.fed_framework import Client, Server, models

    models.benchmark_network = network
    common = {"model_name": "benchmark_network", "device": "cpu", "optimizer_name": "SGD", "learning_rate": lr}
    common |= {"weight_decay": 0.0, "milestones": [], "learning_rate_decay": 1.0}
    rule = {"aggregator_info": {"name": "Average", "parameters": {}}, "pre_agg_list": []}
    server = Server({**common, **rule, "test_loader": clients[0]})
    loss = {"loss_name": "CrossEntropyLoss", "LabelFlipping": False, "nb_labels": classes, "momentum": 0.0}
    federation = [
        Client({**common, **loss, "training_dataloader": loader, "store_per_client_metrics": False})
        for loader in clients
    ]

    def one_round() -> Tensor:
        for client in federation:
            client.set_model_state(server.get_dict_parameters())
        weights = []
        for client in federation:
            client.compute_model_update(steps)
            weights.append(client.get_flat_parameters())
        server.update_model_with_weights(weights)
        return server.get_flat_parameters()

    return one_round
