"""The same federation as a Flower simulation; runs in Flower's own environment.

    python flower_app.py DATA.npz CLIENTS ROUNDS STEPS BATCH LR

Prints "round N SECONDS" after each round (N = 0: before the first), on a monotonic clock.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
import tutorial
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation


def network(data: Any) -> torch.nn.Module:
    """The MLP of the other contestants."""
    inputs = int(data["x"][0].size)
    classes = int(data["y"].max()) + 1
    layers = [torch.nn.Linear(inputs, 64), torch.nn.ReLU(), torch.nn.Linear(64, classes)]
    return torch.nn.Sequential(torch.nn.Flatten(), *layers)


def client_app(path: str, clients: int, steps: int, batch_size: int, lr: float) -> ClientApp:
    """Clients that read their shard, train as the tutorial does, and send their parameters."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Any) -> Message:
        torch.set_num_threads(1)
        data = np.load(path)
        x = torch.from_numpy(data["x"])
        y = torch.from_numpy(data["y"])
        shard = torch.arange(len(y))[int(context.node_config["partition-id"]) :: clients]
        (loader,) = tutorial.loaders(x, y, [shard], steps=steps, batch_size=batch_size)
        model = network(data)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        tutorial.train(model, loader, lr=lr)
        reply = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": len(shard)})}
        return Message(content=RecordDict(reply), reply_to=message)

    return app


def server_app(path: str, clients: int, rounds: int) -> ServerApp:
    """A server that averages and says when each round has ended."""
    app = ServerApp()

    def report(number: int, arrays: ArrayRecord) -> None:
        print(f"round {number} {time.monotonic()}", flush=True)

    @app.main()
    def main(grid: Any, context: Any) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        start = ArrayRecord(network(np.load(path)).state_dict())
        strategy.start(grid=grid, initial_arrays=start, num_rounds=rounds, evaluate_fn=report)

    return app


def main() -> None:
    """Run the simulation that the command line describes."""
    path, clients, rounds, steps, batch_size, lr = sys.argv[1:]
    run_simulation(
        server_app=server_app(path, int(clients), int(rounds)),
        client_app=client_app(path, int(clients), int(steps), int(batch_size), float(lr)),
        num_supernodes=int(clients),
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    main()
